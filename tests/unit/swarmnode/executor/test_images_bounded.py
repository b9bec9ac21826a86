"""Whatever layers of an image unpack to, and however many names they have, there is an end."""

import gzip
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.image_lab import Item, layer
from tests.unit.swarmnode.executor.test_images_unpacked import RECIPE

GIB = 1 << 30
ZEROS = bytes([(131072 << 3 | 2) & 255]) + (131072 << 3 | 2).to_bytes(3, "little")[1:] + b"\0"
"""128 KiB of them, as a block of zstd."""
ZSTD = b"\x28\xb5\x2f\xfd\x00\x70" + ZEROS * 1999 + bytes([ZEROS[0] | 1]) + ZEROS[1:]
"""262 MB in 8 KB."""
GZIP = gzip.compress(bytes(64 << 20))


@pytest.fixture
def oci() -> Iterator[ModuleType]:
    """The recipe's modules, which know no package."""
    sys.path.insert(0, str(RECIPE.parent))
    try:
        import oci  # type: ignore[import-not-found]

        yield oci
    finally:
        sys.path.remove(str(RECIPE.parent))


def read_all(oci: ModuleType, path: Path, data: bytes, budget: object) -> None:
    path.write_bytes(data)
    with open(path, "rb") as file:
        oci.Plain(oci.Part(file, 0, len(data)), budget).finish("")


def test_names_and_bytes_of_all_layers_end_at_their_bounds(tmp_path: Path, oci: ModuleType) -> None:
    import tarball  # type: ignore[import-not-found]
    import unpack  # type: ignore[import-not-found]

    root = os.open(tmp_path, os.O_RDONLY)
    deep = layer(Item("a/b/c/d/e/f"))  # one entry makes six names
    with pytest.raises(tarball.RefusedError, match="more names"):
        unpack.apply(root, tarball.Tar(io.BytesIO(deep)), [5])
    many = layer(*(Item(f"f{number}") for number in range(20)))
    with pytest.raises(tarball.RefusedError, match="more names"):
        unpack.apply(root, tarball.Tar(io.BytesIO(many)), [10])
    os.close(root)
    with pytest.raises(tarball.RefusedError, match="more bytes than an image"):
        read_all(oci, tmp_path / "l", many, oci.Budget(4096))


@pytest.mark.parametrize("bomb", [ZSTD, GZIP], ids=["zstd", "gzip"])
def test_what_unpacking_costs_grows_with_what_was_sent(
    tmp_path: Path, oci: ModuleType, bomb: bytes
) -> None:
    """Some is free: a log of last logins is gigabytes of nothing (moby/moby#5419)."""
    import tarball

    with pytest.raises(tarball.RefusedError, match="not what the image names"):
        read_all(oci, tmp_path / "l", bomb, oci.Budget(64 * GIB))
    budget = oci.Budget(64 * GIB, free_bytes=1 << 20)
    with pytest.raises(tarball.RefusedError, match="far more bytes than they are packed in"):
        read_all(oci, tmp_path / "l", bomb, budget)


def test_what_is_free_is_free_once_for_all_layers(tmp_path: Path, oci: ModuleType) -> None:
    import tarball

    budget = oci.Budget(64 * GIB, free_bytes=100 << 20)
    with pytest.raises(tarball.RefusedError, match="not what the image names"):
        read_all(oci, tmp_path / "l", GZIP, budget)
    with pytest.raises(tarball.RefusedError, match="far more bytes than they are packed in"):
        read_all(oci, tmp_path / "l", GZIP, budget)
