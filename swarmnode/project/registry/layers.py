"""Brings an image of a registry as an OCI layout, and goes on where a line was cut. Blocking.

.lock      held by the command that fetches
HEX/       the layout of the image with that digest; what has come of a layer ends in .part
"""

import contextlib
import fcntl
import hashlib
import http.client
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from swarmnode.errors import ProjectError
from swarmnode.project.images.documents import Descriptor
from swarmnode.project.images.own import own_file, own_folder, write_own
from swarmnode.project.images.saved import blob_name
from swarmnode.project.registry.client import CutError, Registry, Wait, pause
from swarmnode.project.registry.pull import Documents, RemoteImage

_PIECE: Final = 1 << 20
_TRIES_MAX: Final = 7
"""One after another without a byte: half a minute in all."""
_FIRST_WAIT_S: Final = 0.5
HALF_KEPT_S: Final = 7 * 86_400.0
"""A layer that was not whole on Friday may be gone on with on Monday."""
_LAYOUT: Final = re.compile(r"[0-9a-f]{64}")
_RANGE: Final = re.compile(r"bytes (\d+)-")
Passed = Callable[[int], None]
"""Told of bytes as they come."""


@contextlib.contextmanager
def brought(
    image: RemoteImage,
    registry: Registry,
    documents: Documents,
    passed: Passed,
    wait: Wait = pause,
) -> Iterator[Path]:
    """The layout, in a folder of ours, until it was used; what a failure leaves is gone on with.

    Raises ProjectError.
    """
    layout = image.folder / image.settings.digits
    with contextlib.ExitStack() as stack:
        try:
            own_folder(image.folder.parent, image.folder.name)
            lock = stack.enter_context(own_file(image.folder / ".lock"))
            fcntl.flock(lock, fcntl.LOCK_EX)  # another command may be fetching it
            own_folder(image.folder, layout.name, "blobs", "sha256")
            fetch = _Fetch(image, registry, layout, passed, wait)
            for layer in image.layers:
                fetch.layer(layer)
            _write_documents(image, documents, layout)
        except OSError as error:
            why = error.strerror or str(error)
            raise ProjectError(f"{image.reference} cannot be kept in {layout}: {why}") from error
        yield layout
        shutil.rmtree(layout)


def drop_halves(folder: Path) -> None:
    """What was begun a while ago and nobody went on with; nothing while something is fetched."""
    oldest_s = time.time() - HALF_KEPT_S
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, BlockingIOError):
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW))
        with own_file(folder / ".lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for layout in folder.iterdir():
                is_ours = _LAYOUT.fullmatch(layout.name) and not layout.is_symlink()
                if is_ours and _changed_s(layout) < oldest_s:
                    shutil.rmtree(layout)


def _changed_s(layout: Path) -> float:
    """When something of it was last written."""
    return max(path.lstat().st_mtime for path in (layout, *layout.rglob("*")))


def _write_documents(image: RemoteImage, documents: Documents, layout: Path) -> None:
    manifest = documents.data(image.manifest.digest, is_manifest=True)
    write_own(layout / blob_name(image.manifest), manifest)
    write_own(layout / blob_name(image.settings), documents.data(image.settings.digest))
    named = [{"digest": image.manifest.digest, "size": len(manifest)}]
    index = {"schemaVersion": 2, "manifests": named}
    write_own(layout / "index.json", msgspec.json.encode(index))
    write_own(layout / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')


class _Fetch:
    def __init__(
        self, image: RemoteImage, registry: Registry, layout: Path, passed: Passed, wait: Wait
    ) -> None:
        self._image, self._registry, self._layout = image, registry, layout
        self._passed, self._wait = passed, wait

    def layer(self, layer: Descriptor) -> None:
        """Have it, whole and checked. Raises ProjectError, OSError."""
        path = self._layout / blob_name(layer)
        if path.exists():  # an image may have one twice
            return
        part = path.with_name(f"{path.name}.part")
        was_begun = part.exists()
        self._fill(layer, part)
        if _digest_of(part) != layer.digest and was_begun:  # what an earlier command left was wrong
            part.unlink()
            self._fill(layer, part)
        if _digest_of(part) != layer.digest:
            part.unlink()
            raise ProjectError(
                f"{self._image.reference.host} gives other bytes than {layer.digest[:19]}..."
            )
        part.rename(path)

    def _fill(self, layer: Descriptor, part: Path) -> None:
        tries = 0
        while (at := part.stat().st_size if part.exists() else 0) < layer.size or not part.exists():
            try:
                self._go_on(layer, part, at)
            except CutError as error:
                now = part.stat().st_size if part.exists() else 0
                tries = 0 if now > at else tries + 1
                if tries == _TRIES_MAX:
                    raise ProjectError(
                        f"{error}: {self._image.reference} is not whole yet; the same command "
                        "goes on where it ended"
                    ) from error
                self._wait(max(_FIRST_WAIT_S * 2**tries, error.after_s))

    def _go_on(self, layer: Descriptor, part: Path, at: int) -> None:
        """From a place on; from the beginning where the registry gives no part of a layer."""
        with self._registry.blob(layer.digest, at) as answer, own_file(part) as file:
            told = _RANGE.match(answer.headers.get("Content-Range", ""))
            if answer.status != http.client.PARTIAL_CONTENT or not told or int(told[1]) != at:
                file.truncate(0)
                at = 0
            while at < layer.size:
                try:
                    piece = answer.read(min(_PIECE, layer.size - at))
                except (OSError, http.client.HTTPException) as error:  # also a route that is gone
                    raise CutError(f"{self._image.reference.host} broke off ({error})") from error
                if not piece:
                    raise CutError(f"{self._image.reference.host} broke off")
                file.write(piece)
                at += len(piece)
                self._passed(len(piece))


def _digest_of(path: Path) -> str:
    with open(path, "rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
