"""Files that the kernel reads by itself: as fast as any, the same bytes, whoever dies meanwhile."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from p2p.ids import PeerId
from storage.manifests.capability import text_of_cap
from swarmnode.executor.job_folder import JobFolder
from swarmnode.executor.port import JobId, JobSignal
from testnet.sim.memory_objects import MemoryObjects, Pool
from tests.data_lab import (
    Filed,
    Serving,
    machine,
    needs_passthrough_reason,
    numbered,
    one_file,
    passes_through,
    shown,
)
from tests.executor_lab import pieces
from tests.job_lab import MIB, PYTHON, needs_bwrap, needs_python, run_job, running_executor, spec

pytestmark = [
    needs_bwrap,
    needs_python,
    pytest.mark.skipif(not passes_through(), reason=needs_passthrough_reason),
]
ROOT = Path(__file__).resolve().parents[4]
SIZE = 3 * MIB + 123
DIGEST = hashlib.sha256(numbered(0, SIZE)).hexdigest()
TWICE = """
import hashlib, mmap
def digest(data): return hashlib.sha256(data).hexdigest()
with open("/d", "rb") as file:
    print(digest(file.read()), digest(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)))
with open("/d", "rb") as file: print(digest(file.read()))
try: open("/d", "r+b")
except OSError as error: print(error.errno)
"""


async def test_what_is_wholly_here_is_read_and_mapped_without_asking_anybody(
    tmp_path: Path,
) -> None:
    content = Filed(str(tmp_path / "file"), SIZE)
    async with running_executor(tmp_path / "x") as executor:
        executor.on_data(Serving(content, one_file(SIZE), is_opened=True).serve)
        mounts = (shown("/d", is_folder=False),)
        _, out, err = await run_job(executor, spec("t.1", PYTHON, "-c", TWICE, data=mounts))
    assert out.split() == [*[DIGEST] * 3, "13"], err
    assert (content.reads, content.handed_over) == (0, 1)


AGAIN = """
import hashlib, signal
def digest(): return hashlib.sha256(open("/d", "rb").read()).hexdigest()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
for _ in range(3): print(digest(), flush=True)
still = open("/d", "rb")
print("open", flush=True)
signal.sigwait([signal.SIGINT])
print(hashlib.sha256(still.read()).hexdigest(), digest())
"""


async def test_what_is_let_go_of_while_somebody_reads_it_is_right_for_him_and_for_who_comes_later(
    tmp_path: Path,
) -> None:
    """With all of a node: chunks of the pool, kept on disk, handed over, and gone."""
    objects, data = MemoryObjects(Pool(), PeerId("alice")), os.urandom(MIB) * 20
    found = hashlib.sha256(data).hexdigest()
    cap = text_of_cap((await objects.put(pieces(data))).cap)
    shrinks: list[Callable[[int], Awaitable[None]]] = []
    async with machine(tmp_path, objects, shrinks) as (executor, datasets):
        job = JobId("t.1")
        mounts = await datasets.mounts(job, [("/d", cap)])
        await executor.prepare(job)
        await executor.start(spec(job, PYTHON, "-c", AGAIN, data=mounts))
        with trio.fail_after(20):
            while b"open" not in await executor.read_log(job, "stdout", 0, MIB):  # noqa: ASYNC110
                await trio.sleep(0.02)
        notes = JobFolder(tmp_path / "x" / "jobs" / job).data_notes(0)
        assert notes.read_text() == "1 1\n"
        await shrinks[0](0)
        assert datasets.kept_bytes == 0
        assert executor.signal(job, JobSignal.INT)
        assert (await executor.wait(job)).code == 0
        out = (await executor.read_log(job, "stdout", 0, MIB)).decode().split()
        assert out == [*[found] * 3, "open", found, found]
        mounts = await datasets.mounts(JobId("t.2"), [("/d", cap)])
        _, said, err = await run_job(executor, spec("t.2", "/usr/bin/sha256sum", "/d", data=mounts))
        assert said.split()[0] == found, err


class Arriving(Filed):
    """A file of the machine from when it was read to its end once."""

    is_here = False

    def whole(self, place):  # type: ignore[no-untyped-def]  # noqa: ANN001
        return super().whole(place) if self.is_here else None

    async def read(self, place, size):  # type: ignore[no-untyped-def]  # noqa: ANN001
        self.is_here = self.is_here or place.offset + size >= SIZE
        return await super().read(place, size)


STILL_OPEN = """
import hashlib
def digest(data): return hashlib.sha256(data).hexdigest()
first = open("/d", "rb"); print(digest(first.read()))
second = open("/d", "rb"); print(digest(second.read()))
first.seek(0); print(digest(first.read()))
first.close(); second.close()
for _ in range(20): found = digest(open("/d", "rb").read())
print(found)
"""


async def test_who_has_a_file_open_while_it_comes_goes_on_and_the_next_opening_is_the_kernels(
    tmp_path: Path,
) -> None:
    content = Arriving(str(tmp_path / "file"), SIZE)
    async with running_executor(tmp_path / "x") as executor:
        executor.on_data(Serving(content, one_file(SIZE), is_opened=True).serve)
        mounts = (shown("/d", is_folder=False),)
        _, out, err = await run_job(executor, spec("t.1", PYTHON, "-c", STILL_OPEN, data=mounts))
    assert out.split() == [DIGEST] * 4, err
    assert content.handed_over == 1


MANY_OPENINGS = """
import mmap, os, random
size = os.stat("/d").st_size
def right(data, at): return int.from_bytes(data[:8], "big") == at and len(data) == 4096
def opens(seed):
    dice, wrong = random.Random(seed), 0
    for number in range(200):
        fd, at = os.open("/d", os.O_RDONLY), dice.randrange(size // 8 - 512) * 8
        if number % 7 == seed % 7: os.readv(fd, [bytearray(size)])  # to its end
        wrong += not right(os.pread(fd, 4096, at), at)
        area = mmap.mmap(fd, 0, prot=mmap.PROT_READ) if number % 3 == 0 else None
        os.close(fd)
        wrong += area is not None and not right(area[at:at + 4096], at)
    return wrong
children = []
for seed in range(6):
    if (pid := os.fork()) == 0: os._exit(opens(seed))
    children.append(pid)
print([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children])
with open("/d", "rb") as file: file.read(1)
with open("/d", "rb") as file: file.read(1)
"""


async def test_who_opens_it_while_others_open_map_and_close_it_never_gets_an_error(
    tmp_path: Path,
) -> None:
    """The kernel refuses an opening that is not of the same kind as others of the same file."""
    content = Arriving(str(tmp_path / "file"), SIZE)
    async with running_executor(tmp_path / "x") as executor:
        executor.on_data(Serving(content, one_file(SIZE), is_opened=True).serve)
        mounts = (shown("/d", is_folder=False),)
        what = spec("t.1", PYTHON, "-c", MANY_OPENINGS, data=mounts, memory_bytes=512 * MIB)
        _, out, err = await run_job(executor, what)
    assert out == "[0, 0, 0, 0, 0, 0]\n", err
    assert content.handed_over == 1


NODE = """
import sys, trio
from pathlib import Path
from p2p.workers import ThreadWorkers
from swarmnode.executor.sandbox.capability import ExecutorConfig
from swarmnode.executor.process import ProcessExecutor
from tests.data_lab import Filed, Serving, one_file, shown
from tests.job_lab import spec

async def main(folder, file, size, *argv):
    executor = ProcessExecutor(Path(folder), ExecutorConfig(), {}, ThreadWorkers())
    content = Filed(file, int(size), is_held=True)
    trees = one_file(int(size)), one_file(int(size), 1)
    executor.on_data(Serving(content, *trees, is_opened=True).serve)
    async with trio.open_nursery() as nursery:
        await nursery.start(executor.run)
        await executor.prepare("t.1")
        mounts = shown("/d", is_folder=False), shown("/e", is_folder=False)
        await executor.start(spec("t.1", *argv, data=mounts))
        await content.asked.wait()
        print(content.handed_over, flush=True)

trio.run(main, *sys.argv[1:])
"""
ACROSS = """
import hashlib
def digest(data): return hashlib.sha256(data).hexdigest()
first = open("/d", "rb"); first.read(1000)
print(digest(open("/e", "rb").read()))  # until the next node is there
first.seek(0); print(digest(first.read()))
print(digest(open("/d", "rb").read()))
first.close()
print(digest(open("/d", "rb").read()))
"""


def node_that_hands_it_over_and_dies(folder: Path, place: Path, *argv: str) -> None:
    node = subprocess.Popen(
        [sys.executable, "-c", NODE, str(folder), str(place), str(SIZE), *argv],
        stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert node.stdout is not None
    assert node.stdout.readline().strip() == "1"
    node.send_signal(signal.SIGKILL)
    node.wait()
    node.stdout.close()


async def test_a_file_that_the_kernel_reads_is_read_on_and_opened_again_after_a_nodes_death(
    tmp_path: Path,
) -> None:
    place = tmp_path / "file"
    node_that_hands_it_over_and_dies(tmp_path / "x", place, PYTHON, "-c", ACROSS)
    place.unlink()  # it was let go of meanwhile: who has it keeps it
    content = Filed(str(tmp_path / "other"), SIZE)
    serving = Serving(content, one_file(SIZE), one_file(SIZE, 1), is_opened=True)
    async with running_executor(tmp_path / "x", serve=serving.serve) as executor:
        ended = await executor.wait(JobId("t.1"))
        out = await executor.read_log(JobId("t.1"), "stdout", 0, MIB)
        err = await executor.read_log(JobId("t.1"), "stderr", 0, MIB)
    assert ended.code == 0, err
    assert out.decode().split() == [DIGEST] * 4
    assert (content.reads, content.handed_over) == (0, 1)
