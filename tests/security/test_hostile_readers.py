"""Tasks that attack a dataset of which the kernel reads the files by itself: they get its bytes."""

import hashlib
import os
import signal
from pathlib import Path

import pytest
import trio

from swarmnode.executor.job_folder import JobFolder
from swarmnode.executor.port import JobId
from swarmnode.resources.mounts import read_proc
from tests.data_lab import (
    Filed,
    Serving,
    needs_passthrough_reason,
    numbered,
    one_file,
    passes_through,
    shown,
)
from tests.hostile_words import CALLS
from tests.job_lab import MIB, PYTHON, needs_bwrap, needs_python, run_job, running_executor, spec
from tests.unit.swarmnode.executor.test_data_passed import node_that_hands_it_over_and_dies

pytestmark = [
    needs_bwrap,
    needs_python,
    pytest.mark.skipif(not passes_through(), reason=needs_passthrough_reason),
]
SIZE = 3 * MIB + 123
DATA = numbered(0, SIZE)
CHANGES = (
    CALLS
    + """
import fcntl, mmap
fd = os.open("/d", os.O_RDONLY)
os.read(fd, 1)  # by the kernel alone from here on
ways = [
    lambda: os.open("/d", os.O_RDWR), lambda: os.open("/d", os.O_WRONLY | os.O_TRUNC),
    lambda: os.open(f"/proc/self/fd/{fd}", os.O_RDWR), lambda: os.open("/d", os.O_TRUNC),
    lambda: os.truncate("/d", 0), lambda: os.write(fd, b"x"), lambda: os.pwrite(fd, b"x", 0),
    lambda: os.ftruncate(fd, 0), lambda: os.posix_fallocate(fd, 0, 1 << 20),
    lambda: mmap.mmap(fd, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE),
    lambda: os.chmod("/d", 0o777), lambda: os.fchmod(fd, 0o777), lambda: os.chown("/d", 1, 1),
    lambda: os.utime("/d", (1, 1)), lambda: os.setxattr("/d", "user.x", b"y"),
    lambda: os.unlink("/d"), lambda: os.rename("/d", "/e"), lambda: os.link("/d", "/work/d"),
    lambda: os.copy_file_range(os.open("/work/mine", os.O_RDWR | os.O_CREAT), fd, 1),
    lambda: fcntl.fcntl(fd, 1024, fcntl.F_WRLCK),
    *(lambda number=number: fcntl.ioctl(fd, number, bytearray(128)) for number in (
        0x4010E501, 0x4004E502, 0x8004E500, 0x40086602, 0x401C5820, 0x40049409, 0x4020940D)),
    lambda: os.open("/dev/fuse", os.O_RDWR),
]
print(*(tried(way) for way in ways))
private = mmap.mmap(fd, 4096, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
private[:4] = b"mine"
print(call("madvise", ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(private))),
           4096, 9))
"""
)


def seen(path: str) -> tuple[bytes, int, int, int, int]:
    info = os.stat(path)
    with open(path, "rb") as file:
        return file.read(), info.st_mode, info.st_mtime_ns, info.st_ctime_ns, info.st_nlink


async def test_no_way_changes_a_file_that_the_kernel_reads_by_itself(tmp_path: Path) -> None:
    content = Filed(str(tmp_path / "file"), SIZE)
    before = seen(content.file)
    async with running_executor(tmp_path / "x") as executor:
        executor.on_data(Serving(content, one_file(SIZE), is_opened=True).serve)
        mounts = (shown("/d", is_folder=False),)
        _, out, err = await run_job(executor, spec("t.1", PYTHON, "-c", CHANGES, data=mounts))
    assert content.handed_over == 1, err
    assert len(out.split()) == 29, err
    assert set(out.split()).isdisjoint({"done", "madvise"}), out
    assert seen(content.file) == before


READS = """
import ctypes, hashlib, mmap, os, signal
size = os.stat("/d").st_size
fd, data = os.open("/d", os.O_RDONLY), b""
while piece := os.read(fd, 1 << 20): data += piece
print(hashlib.sha256(data).hexdigest())
places = size - 1, size, size + 1, 1 << 40, (1 << 63) - 4097
print(*(len(os.pread(fd, 4096, at)) for at in places))
direct, page = os.open("/d", os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, 1 << 20)
print(os.preadv(direct, [page], 0), page[:] == data[:1 << 20])
print(os.preadv(direct, [page], size // 4096 * 4096))  # the last piece
pages, into = mmap.mmap(fd, 0, prot=mmap.PROT_READ), os.pipe()
print(pages[size - 8:] == data[-8:], os.splice(fd, into[1], 4096, offset_src=size - 8))
out = os.open("/work/out", os.O_RDWR | os.O_CREAT)
print(os.sendfile(out, fd, 0, size), hashlib.sha256(open("/work/out", "rb").read()).hexdigest())
libc = ctypes.CDLL(None)
libc.mmap.restype, libc.mmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t] + [
    ctypes.c_int] * 3 + [ctypes.c_long]
if (pid := os.fork()) == 0:
    there = libc.mmap(None, size + (1 << 20), 1, 2, fd, 0)
    ctypes.string_at(there + (size | 4095) + 1, 1)  # a page that the file does not have
    os._exit(0)
print(signal.Signals(-os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).name)
"""


async def test_reads_at_odd_places_give_what_a_plain_file_gives(tmp_path: Path) -> None:
    content, digest = Filed(str(tmp_path / "file"), SIZE), hashlib.sha256(DATA).hexdigest()
    async with running_executor(tmp_path / "x") as executor:
        executor.on_data(Serving(content, one_file(SIZE), is_opened=True).serve)
        mounts = (shown("/d", is_folder=False),)
        _, out, err = await run_job(executor, spec("t.1", PYTHON, "-c", READS, data=mounts))
    assert out.splitlines() == [
        digest, "1 0 0 0 0", f"{MIB} True", str(SIZE % 4096), "True 8", f"{SIZE} {digest}", "SIGBUS"
    ], err  # fmt: skip


HOLDS = """
import mmap, os, time
fd = os.open("/d", os.O_RDONLY)
pages = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
pages[0]
open("/e", "rb").read(1)
"""


async def test_nothing_is_left_of_a_mapped_file_whose_node_and_shim_are_killed(
    tmp_path: Path,
) -> None:
    place, folder = tmp_path / "file", tmp_path / "x"
    node_that_hands_it_over_and_dies(folder, place, PYTHON, "-c", HOLDS)
    state = JobFolder(folder / "jobs/t.1").read_state()
    assert state is not None
    assert " /d " in read_proc(f"/proc/{state.pid}/mountinfo")
    os.kill(state.shim, signal.SIGKILL)
    with trio.fail_after(20):
        while os.path.exists(f"/proc/{state.pid}"):  # noqa: ASYNC110, ASYNC240
            await trio.sleep(0.02)
    async with running_executor(folder) as again:
        assert (await again.wait(JobId("t.1"))).reason == "lost"
    assert os.listdir(folder / "jobs") == []
