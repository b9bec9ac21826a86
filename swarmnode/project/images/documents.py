"""The JSON documents of images, typed. Pure."""

import hashlib
import re
from typing import Final, TypeVar

import msgspec

JSON_BYTES_MAX: Final = 8 << 20
"""Of settings; real ones have some kilobytes."""
LAYERS_MAX: Final = 256
"""Docker itself makes 127 at most."""
_MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_T = TypeVar("_T")


class Platform(msgspec.Struct, frozen=True):
    """For which machines something is."""

    architecture: str = ""
    os: str = "linux"
    variant: str = ""
    """Which processors of that kind: none, or the lowest number, runs on the most."""

    @property
    def machine(self) -> str:
        """As uname has it."""
        return _MACHINES.get(self.architecture, self.architecture)


class Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    """Names some bytes."""

    digest: str
    size: int = 0
    media_type: str = ""
    platform: Platform | None = None

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if not _DIGEST.fullmatch(self.digest):
            raise ValueError(f"digest {self.digest[:80]!r} is not one of SHA-256")
        if self.size < 0:
            raise ValueError(f"size {self.size}")

    @property
    def digits(self) -> str:
        """The hexadecimal part."""
        return self.digest.partition(":")[2]


class ImageDocument(msgspec.Struct, frozen=True, rename="camel"):
    """An index, which names others, or the manifest of one image."""

    media_type: str = ""
    schema_version: int = 2
    manifests: tuple[Descriptor, ...] | None = None
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] | None = None


class SavedLine(msgspec.Struct, frozen=True, rename="pascal"):
    """One image of the `manifest.json` of an archive."""

    config: str
    layers: tuple[str, ...] = ()


class _Root(msgspec.Struct, frozen=True):
    diff_ids: tuple[str, ...] = ()


class Settings(Platform, frozen=True):
    """What names an image's layers, and says for which machines it is."""

    rootfs: _Root | None = None


def read_as(data: bytes, kind: type[_T]) -> _T:
    """Raises ValueError for whatever else it is."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"not as an image has it: {error}") from error


def digest_of(data: bytes) -> str:
    """As images name bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
