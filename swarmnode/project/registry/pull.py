"""From a name in a registry to the image that it means. Blocking.

Documents (indexes, manifests, settings) are kept by their digest and checked when they are read:
what is known of an image is not asked for again.
"""

import contextlib
import http.client
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from swarmnode.errors import ProjectError
from swarmnode.project.images.documents import (
    JSON_BYTES_MAX,
    LAYERS_MAX,
    Descriptor,
    ImageDocument,
    Settings,
    digest_of,
    read_as,
)
from swarmnode.project.images.own import own_folder, read_own, write_own
from swarmnode.project.registry.client import Answer, CutError, Registry, Wait, pause
from swarmnode.project.registry.reference import Reference

_INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_VERSION_1: Final = "docker.distribution.manifest.v1+"
_NO_VERSION_2: Final = "is no image of today's format (version 2)"
_SETTINGS: Final = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
_DEPTH_MAX: Final = 3
"""An index may name an index."""
_LAYERS_BYTES_MAX: Final = 64 << 30
_TRIES_MAX: Final = 3
"""Of a question, a second and a half in all: a host that is not there is told soon."""
_DOCUMENTS: Final = "documents"
_FIRST_WAIT_S: Final = 0.5
_T = TypeVar("_T")


class RemoteImage(msgspec.Struct, frozen=True):
    """An image of a registry, of which only the documents were read."""

    reference: Reference
    manifest: Descriptor
    settings: Descriptor
    layers: tuple[Descriptor, ...]
    machine: str
    told: str
    """The digest that the name means, for whoever wants this very one again."""
    folder: Path
    """Where we keep what comes of it."""

    @property
    def digest(self) -> str:
        """Of its settings."""
        return self.settings.digest

    @property
    def size_bytes(self) -> int:
        """Of its layers, as they are packed."""
        return sum(layer.size for layer in self.layers)


class Documents:
    """Of one image of one registry; `folder` is where we keep what comes of it."""

    def __init__(
        self, reference: Reference, registry: Registry, folder: Path, wait: Wait = pause
    ) -> None:
        self._reference, self._registry, self._folder = reference, registry, folder
        self._wait = wait

    def look(self, machine: str) -> RemoteImage:
        """What the name means for such a machine. Raises ProjectError."""
        told = digest = self._reference.digest or self._tagged()
        for _ in range(_DEPTH_MAX):
            data = self.data(digest, is_manifest=True)
            document = self._read(data, ImageDocument)
            if document.manifests is None:
                return self._image(Descriptor(digest, len(data)), document, machine, told)
            digest = self._chosen(document.manifests, machine).digest
        raise ProjectError(f"{self._reference} leads from one index to another")

    def data(self, digest: str, *, is_manifest: bool = False) -> bytes:
        """A document by its digest: from where it was left, else from the registry."""
        with contextlib.suppress(OSError):
            data = read_own(self._kept(digest), JSON_BYTES_MAX)
            if digest_of(data) == digest:
                return data
        ask = self._manifest if is_manifest else self._registry.blob
        data = self._again(lambda: _whole(ask(digest)))
        if digest_of(data) != digest:
            raise ProjectError(f"{self._reference.host} gives other bytes than {digest[:19]}...")
        self._keep(digest, data)
        return data

    def _tagged(self) -> str:
        """The digest that the tag has now; asking so is not counted as fetching by docker.io."""
        tag = self._reference.tag
        told = self._again(lambda: _digest_in(self._manifest(tag, head=True)))
        with contextlib.suppress(ValueError):
            return Descriptor(told).digest
        data = self._again(lambda: _whole(self._manifest(tag)))
        self._keep(digest_of(data), data)
        return digest_of(data)

    def _manifest(self, which: str, *, head: bool = False) -> Answer:
        answer = self._registry.manifest(which, (*_INDEXES, *_MANIFESTS), head=head)
        if _VERSION_1 in answer.headers.get("Content-Type", ""):  # its digest is none of its bytes
            answer.close()
            raise ProjectError(f"{self._reference} {_NO_VERSION_2}")
        return answer

    def _again(self, act: Callable[[], _T]) -> _T:
        for number in range(_TRIES_MAX):
            try:
                return act()
            except CutError as error:
                why = error
            if number + 1 < _TRIES_MAX:
                self._wait(max(_FIRST_WAIT_S * 2**number, why.after_s))
        raise ProjectError(f"{self._reference}: {why}")

    def _kept(self, digest: str) -> Path:
        return self._folder / _DOCUMENTS / Descriptor(digest).digits

    def _keep(self, digest: str, data: bytes) -> None:
        path = self._kept(digest)
        try:
            own_folder(self._folder.parent, self._folder.name, _DOCUMENTS)
            write_own(path, data)
        except OSError as error:
            raise ProjectError(f"{path} cannot be written: {error.strerror}") from error

    def _chosen(self, manifests: tuple[Descriptor, ...], machine: str) -> Descriptor:
        known = [(one, one.platform) for one in manifests if one.platform is not None]
        fit = [(p.variant, one) for one, p in known if (p.os, p.machine) == ("linux", machine)]
        if fit:  # the plainest, which every machine of the kind can run
            return min(fit, key=lambda pair: pair[0])[1]
        unsaid = [one for one in manifests if one.platform is None]
        if len(unsaid) == 1:  # its settings say for which machines it is
            return unsaid[0]
        there = sorted({f"{p.os}/{p.architecture}" for _, p in known if p.os != "unknown"})
        only = ", ".join(there)[:200] or "no machine"
        raise ProjectError(f"{self._reference} is not there for {machine}, only for {only}")

    def _image(
        self, manifest: Descriptor, document: ImageDocument, machine: str, told: str
    ) -> RemoteImage:
        if document.schema_version != 2 or document.config is None or document.layers is None:
            raise ProjectError(f"{self._reference} {_NO_VERSION_2}")
        self._check(document.config, document.layers)
        settings = self._read(self.data(document.config.digest), Settings)
        if settings.os != "linux" or settings.machine != machine:
            kind = f"{settings.os}/{settings.architecture}"
            raise ProjectError(f"{self._reference} is for {kind}, not for {machine}")
        named = settings.rootfs.diff_ids if settings.rootfs else ()
        if len(named) != len(document.layers):
            raise ProjectError(f"{self._reference} does not name its layers one by one")
        return RemoteImage(
            self._reference,
            manifest,
            document.config,
            document.layers,
            settings.machine,
            told,
            self._folder,
        )

    def _check(self, config: Descriptor, layers: tuple[Descriptor, ...]) -> None:
        if config.media_type not in _SETTINGS:
            raise ProjectError(f"{self._reference} is no image, but {config.media_type[:80]!r}")
        if len(layers) > LAYERS_MAX:
            raise ProjectError(f"{self._reference} has {len(layers)} layers, limit {LAYERS_MAX}")
        if sum(layer.size for layer in layers) > _LAYERS_BYTES_MAX:
            raise ProjectError(f"{self._reference} has more than {_LAYERS_BYTES_MAX >> 30} GiB")
        if any("encrypted" in layer.media_type for layer in layers):
            raise ProjectError(f"{self._reference} is encrypted")

    def _read(self, data: bytes, kind: type[_T]) -> _T:
        try:
            return read_as(data, kind)
        except ValueError as error:
            raise ProjectError(f"{self._reference} is no image: {error}") from error


def _digest_in(answer: Answer) -> str:
    with answer:
        return answer.headers.get("Docker-Content-Digest", "")


def _whole(answer: Answer) -> bytes:
    """Raises CutError, ProjectError."""
    try:
        with answer:
            data = answer.read(JSON_BYTES_MAX + 1)
            wanted = answer.headers.get("Content-Length", "")
    except (OSError, http.client.HTTPException) as error:
        raise CutError(f"the registry broke off ({error})") from error
    if len(data) > JSON_BYTES_MAX:
        raise ProjectError(f"the registry gives a document of more than {JSON_BYTES_MAX} bytes")
    if wanted.isdigit() and len(data) < int(wanted):
        raise CutError("the registry broke off")
    return data
