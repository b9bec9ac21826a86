"""What programs do with the files of a dataset, whether a node answers or the kernel by itself.

Each line was reported of some other file system of this kind as something that failed.
"""

import json
from pathlib import Path

import pytest

from swarmnode.fuse.inodes import ROOT, ContentPlace, Inode, Inodes, folder_mode
from swarmnode.fuse.serve import Pieces
from tests.data_lab import Filed, Serving, has_fuse, needs_fuse_reason, one_file, shown
from tests.job_lab import MIB, PYTHON, needs_bwrap, needs_python, run_job, running_executor, spec

pytestmark = [
    needs_bwrap,
    needs_python,
    pytest.mark.skipif(not has_fuse(), reason=needs_fuse_reason),
]
SIZE = 3 * MIB + 123
RUNS = b"#!/bin/sh\necho it runs\n"
PROGRAM = """
import fcntl, json, mmap, os, shutil, subprocess, sys, zipfile
path, said = sys.argv[1], {}
with open(path, "rb") as file: data = file.read()
def same(other): return open(other, "rb").read() == data
def look(name):
    def run(step):
        try: said[name] = step()
        except OSError as error: said[name] = error.errno
    return run
@look("read without the cache")
def _():
    area = mmap.mmap(-1, 1 << 20)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    return os.readv(fd, [area]) == 1 << 20 and area[:] == data[:1 << 20]
@look("locks")
def _():
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return True
@look("mapped, shared and private")
def _():
    with open(path, "rb") as file:
        shared = mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
        private = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    private[0:3] = b"abc"
    return shared[:] == data and private[3:] == data[3:]
@look("copied")
def _():
    shutil.copyfile(path, "copy")
    subprocess.run(["cp", "--sparse=auto", path, "other"], check=True)
    return same("copy") and same("other")
@look("sent from file to pipe")
def _():
    out, into = os.pipe()
    return os.splice(os.open(path, 0), into, 4096, offset_src=8) == len(os.read(out, 4096))
@look("holes are sought")
def _(): return os.lseek(os.open(path, 0), 0, os.SEEK_HOLE) == len(data)
@look("packed")
def _():
    os.environ["TZ"] = "America/Los_Angeles"
    with zipfile.ZipFile("packed.zip", "w") as packed: packed.write(path, "name")
    return zipfile.ZipFile("packed.zip").read("name") == data
@look("a long name")
def _(): return os.stat("/c/" + "x" * 256)
@look("a lock file beside it")
def _(): return open("/c/file.lock", "w")
@look("a link that leads nowhere")
def _(): return os.path.islink("/c/dangling") and os.readlink("/c/dangling") == "nowhere/at all"
@look("a program")
def _(): return subprocess.run(["/c/run.sh"], capture_output=True).stdout == b"it runs\\n"
print(json.dumps(said))
"""


class Programs(Filed):
    async def read(self, place: ContentPlace, size: int) -> Pieces:
        if place.part == 2:
            return [RUNS[place.offset : place.offset + size]]
        return await super().read(place, size)


@pytest.mark.parametrize("path", ["/d", "/c/file"])
async def test_programs_do_with_it_what_they_do_with_any_file_that_is_only_to_be_read(
    tmp_path: Path, path: str
) -> None:
    folder = Inodes(Inode(folder_mode(0o755), 0, ROOT))
    folder.add_file(ROOT, b"file", 0o644, SIZE, ContentPlace(1))
    folder.add_file(ROOT, b"run.sh", 0o755, len(RUNS), ContentPlace(2))
    folder.add_link(ROOT, b"dangling", b"nowhere/at all")
    content = Programs(str(tmp_path / "file"), SIZE)
    async with running_executor(tmp_path / "x") as executor:
        executor.on_data(Serving(content, one_file(SIZE), folder, is_opened=True).serve)
        mounts = shown("/d", is_folder=False), shown("/c", is_folder=True)
        what = spec("t.1", PYTHON, "-c", PROGRAM, path, data=mounts, memory_bytes=512 * MIB)
        _, out, err = await run_job(executor, what)
    said = json.loads(out or "{}")
    assert said.pop("a long name") == 36, err
    assert said.pop("a lock file beside it") == 30
    assert said == dict.fromkeys(said, True)
    assert len(said) == 9
