"""Layers packed by zstd, as the machine's own library reads them."""

import ctypes.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from swarmnode.executor.environments import building
from swarmnode.tasks.environments.naming import image_lock
from tests.image_lab import Item, layer, packed_by_zstd, saved, settings_of

RECIPE = Path(building.__file__).parent / "recipe/image.py"
SKIPPED = b"\x50\x2a\x4d\x18\x04\x00\x00\x00seek"
"""A frame of no data, such as zstd:chunked has behind a layer."""
pytestmark = pytest.mark.skipif(
    ctypes.util.find_library("zstd") is None, reason="libzstd.so.1 is missing (apt: libzstd1)"
)


def unpacked(top: Path, plain: bytes, packed: bytes) -> "subprocess.CompletedProcess[str]":
    digest = saved(top / ".image", [packed], settings_of([plain]))
    (top / ".lock").write_text(image_lock(digest))
    command = [sys.executable, "-I", "-B", str(RECIPE), str(top)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_frames_of_any_number_and_level_are_one_layer(tmp_path: Path) -> None:
    data = os.urandom(300_000) + bytes(3_000_000)
    plain = layer(Item("a", data), Item("b", b"1"))
    wholes = {
        "one": packed_by_zstd(plain),
        "strong": packed_by_zstd(plain, 19),
        "many": b"".join(
            packed_by_zstd(plain[at : at + 99_999]) for at in range(0, len(plain), 99_999)
        ),
        "chunked": packed_by_zstd(plain[:512]) + packed_by_zstd(plain[512:]) + SKIPPED,
        "parallel": SKIPPED + packed_by_zstd(plain),
        "parallel, of another kind": b"\x5f" + SKIPPED[1:] + packed_by_zstd(plain),
    }
    for name, packed in wholes.items():
        top = tmp_path / name
        top.mkdir()
        done = unpacked(top, plain, packed)
        assert done.returncode == 0, (name, done.stderr)
        assert (top / "root/a").read_bytes() == data


def test_what_is_damaged_or_cut_off_is_refused_in_words(tmp_path: Path) -> None:
    plain = layer(Item("a", os.urandom(5000)))
    packed = packed_by_zstd(plain)
    for number, wrong in enumerate((packed[:-5], packed + b"\x01", packed[:20] + b"\xff" * 4000)):
        top = tmp_path / str(number)
        top.mkdir()
        done = unpacked(top, plain, wrong)
        assert (done.returncode, "the image is refused" in done.stderr) == (65, True), done.stderr


def test_a_frame_that_asks_for_much_memory_is_refused(tmp_path: Path) -> None:
    plain = layer(Item("a"))
    large_window = b"\x28\xb5\x2f\xfd\x00\xf8" + b"\x01\x00\x00"  # two terabytes
    done = unpacked(tmp_path, plain, large_window)
    assert (done.returncode, "too much memory" in done.stderr) == (65, True), done.stderr


def test_a_file_of_zeros_is_no_bomb(tmp_path: Path) -> None:
    """moby/moby#5419: a log of last logins has gigabytes of nothing where user ids are large."""
    plain = layer(Item("var/log/lastlog", bytes(96 << 20)))
    done = unpacked(tmp_path, plain, packed_by_zstd(plain))
    assert done.returncode == 0, done.stderr


def test_a_machine_without_the_library_says_so(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe"
    shutil.copytree(RECIPE.parent, recipe)
    text = (recipe / "frames.py").read_text()
    (recipe / "frames.py").write_text(text.replace("libzstd.so.1", "libnothere.so.1"))
    top = tmp_path / "env"
    top.mkdir()
    plain = layer(Item("a"))
    digest = saved(top / ".image", [packed_by_zstd(plain)], settings_of([plain]))
    (top / ".lock").write_text(image_lock(digest))
    command = [sys.executable, "-I", "-B", str(recipe / "image.py"), str(top)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 69
    assert "this machine has no libnothere.so.1 (apt install" in done.stderr
