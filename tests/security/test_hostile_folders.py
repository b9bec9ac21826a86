"""Work folders as hostile tasks leave them: measured, looked at and removed all the same."""

import ctypes
import os
import shutil
import struct
import subprocess
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from swarmnode.errors import TreeRefusedError
from swarmnode.executor.disk import disk_use, safe_files
from swarmnode.executor.sandbox.capability import BWRAP, CONTAINER
from swarmnode.tree.format import EntryKind
from swarmnode.tree.scan import Found, entries_of, scan
from tests.hostile_lab import Ended, Try, run_tries
from tests.hostile_words import CALLS, is_all
from tests.job_lab import MIB, needs_bwrap, needs_python, needs_root
from tests.open_folder import open_folder

TRIES = [
    Try(
        "a work folder that is locked, so that nobody could measure it",
        "import os, time\n"
        "try: os.chmod('/work', 0)\n"
        "except PermissionError: pass\n"  # in a container it is its node's
        "time.sleep(0.6); print('slept')",
        lambda ended: ended.says("slept"),
    ),
    Try(
        "a locked work folder that is filled",
        "import os, time\n"
        "file = open('big', 'wb', buffering=0)\n"
        "try: os.chmod('/work', 0)\n"
        "except PermissionError: pass\n"
        "for _ in range(200): file.write(bytes(1 << 20)); time.sleep(0.02)\n",
        lambda ended: ended.reason == "disk" or "No space left" in ended.err,
    ),
    Try(
        "snapshots that are read-only, and folders whose key is lost: nobody could remove them",
        CALLS
        + "here = os.open('.', os.O_RDONLY)\n"
        + "def asked(number): return call('ioctl', here, ctypes.c_ulong(number), bytes(4096))\n"
        + "print(*map(asked, (0x50009401, 0x5000940e, 0x50009417, 0x50009418, 0x4008941a,\n"
        + "                   0x800c6613, 0xc0506617)))",
        is_all("EPERM"),
    ),
]


@pytest.fixture(scope="module", params=["root", "user", "container"])
def outcomes(request: pytest.FixtureRequest) -> dict[str, Ended]:
    sandbox = CONTAINER if request.param == "container" else BWRAP
    with open_folder() as folder:
        return run_tries(folder, TRIES, as_user=request.param == "user", sandbox=sandbox)


@needs_bwrap
@needs_python
@pytest.mark.parametrize("one", TRIES, ids=[one.name for one in TRIES])
def test_a_folder_made_a_trap_is_none(outcomes: dict[str, Ended], one: Try) -> None:
    assert one.is_contained(outcomes[one.name]), outcomes[one.name]


NAMES, LOOKED_AT = 20_000, 100


def many_names(folder: Path) -> Path:
    """Of one file, so that they need hardly any disk."""
    folder.mkdir()
    (folder / "f").touch()
    for number in range(NAMES):
        os.link(folder / "f", folder / f"{'x' * 200}{number}")
    return folder


@pytest.mark.parametrize(
    ("look", "refused"),
    [
        (lambda path: scan(path, entries_max=LOOKED_AT), TreeRefusedError),
        (lambda path: disk_use.disk_use(path, LOOKED_AT), disk_use.TooManyEntriesError),
    ],
    ids=["scan", "disk_use"],
)
def test_more_names_than_are_looked_at_are_not_listed_first(
    tmp_path: Path, look: Callable[[str], object], refused: type[Exception]
) -> None:
    """A disk of 1 GiB has room for four million names of one file: a list of them takes more."""
    folder = many_names(tmp_path / "d")
    tracemalloc.start()
    try:
        with pytest.raises(refused):
            look(str(folder))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MIB


@contextmanager
def encrypting_disk(folder: Path) -> Iterator[Path]:
    """A file system whose folders can be encrypted."""
    image, place = folder / "image", folder / "disk"
    place.mkdir()
    with open(image, "wb") as file:
        file.truncate(32 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-O", "encrypt", image], check=True, capture_output=True)
    mounted = subprocess.run(
        ["mount", "-o", "loop", image, place], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no loop device to be had: {mounted.stderr}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def ask(folder: int, number: int, body: bytearray) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ioctl(folder, ctypes.c_ulong(number), (ctypes.c_char * len(body)).from_buffer(body)):
        pytest.skip(f"this kernel encrypts no folders: {os.strerror(ctypes.get_errno())}")


def lost_key(folder: Path) -> Path:
    """An encrypted folder, as the kernel shows it without its key (linux/fscrypt.h)."""
    secret = folder / "secret"
    secret.mkdir()
    fd = os.open(secret, os.O_RDONLY)
    try:
        key = bytearray(struct.pack("=II32xII32x64s", 2, 0, 64, 0, b"k" * 64))
        ask(fd, 0xC0506617, key)  # FS_IOC_ADD_ENCRYPTION_KEY
        ask(fd, 0x800C6613, bytearray(struct.pack("=BBBB4x", 2, 1, 4, 3) + key[8:24]))
        (secret / "a/b/c").mkdir(parents=True)
        (secret / "a/b/c/f").write_text("x")
    finally:
        os.close(fd)
    fd = os.open(folder, os.O_RDONLY)
    try:
        ask(fd, 0xC0406618, bytearray(struct.pack("=II", 2, 0) + key[8:24] + bytes(40)))
    finally:
        os.close(fd)
    return secret


@needs_root
@pytest.mark.skipif(shutil.which("mkfs.ext4") is None, reason="mkfs.ext4 (e2fsprogs) is missing")
def test_a_folder_of_which_the_key_is_lost_is_removed(tmp_path: Path) -> None:
    """Nothing in it can be renamed, or read; it can be emptied."""
    with encrypting_disk(tmp_path) as disk:
        secret = lost_key(disk)
        assert "a" not in os.listdir(secret)
        safe_files.remove_tree(str(secret))
        assert not secret.exists()


def test_a_deep_folder_with_locked_and_sticky_ones_in_it_is_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for number in range(3000):
        os.mkdir("d" * 200, dir_fd=here)
        os.close(os.open(f"f{number}", os.O_CREAT | os.O_WRONLY, 0, dir_fd=here))
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.fchmod(here, (0, 0o1000, 0o500)[number % 3])
        os.close(here)
        here = below
    os.close(here)
    safe_files.remove_tree(str(top))
    assert not top.exists()


def test_links_that_lead_far_are_not_kept_in_memory_for_each_of_their_names(tmp_path: Path) -> None:
    """Sixty thousand names of one link need a disk for their names."""
    folder = tmp_path / "d"
    folder.mkdir()
    os.symlink("x/" * 2000, folder / "l")
    for number in range(2000):
        os.link(folder / "l", folder / str(number), follow_symlinks=False)
    with pytest.raises(TreeRefusedError, match="too long"):
        scan(str(folder), entries_max=5000)
    assert len(scan(str(folder)).found) == 2002


def test_long_names_of_a_tree_are_refused_before_any_is_made_whole() -> None:
    """A disk of 1 GiB has room for a hundred thousand of 3,000 bytes."""
    above = (b"x" * 48,) * 56
    file = Found((*above, b"f"), EntryKind.FILE, 0o644)
    seen = [replace(file, parts=(*above, b"%05d" % number)) for number in range(13_000)]
    tracemalloc.start()
    try:
        with pytest.raises(TreeRefusedError, match="split the folder"):
            entries_of(seen, ())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MIB
