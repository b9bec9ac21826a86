"""Datasets in real sandboxes: read while they arrive, and whoever answers may die meanwhile."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from swarmnode.executor.job_folder import JobFolder
from swarmnode.executor.port import DataWay, JobId
from swarmnode.executor.watch import until_gone
from swarmnode.fuse.inodes import ContentPlace
from swarmnode.fuse.serve import ContentFailedError, Pieces
from tests.data_lab import (
    Numbered,
    Serving,
    folder_of,
    has_fuse,
    needs_fuse_reason,
    numbered,
    one_file,
    shown,
)
from tests.job_lab import (
    MIB,
    PYTHON,
    SH,
    needs_bwrap,
    needs_python,
    processes_with,
    run_job,
    running_executor,
    spec,
)

pytestmark = [needs_bwrap, pytest.mark.skipif(not has_fuse(), reason=needs_fuse_reason)]
ROOT = Path(__file__).resolve().parents[4]
SIZE = 5 * MIB + 123


async def test_a_task_reads_a_file_and_a_folder_where_it_asked_for_them(tmp_path: Path) -> None:
    names = [b"a b", b"-rf", b"\xff\xfe", b"\n", "ü".encode() * 127]
    serving = Serving(Numbered(), one_file(SIZE), folder_of(names, 1000))
    script = "sha256sum < /data/x.bin; cd sets; ls | wc -c; cat ./* | wc -c; touch n || echo ro"
    async with running_executor(tmp_path / "x") as executor:
        assert executor.data_way() == (DataWay.LAZY, "")
        executor.on_data(serving.serve)
        mounts = (shown("/data/x.bin", is_folder=False), shown("/work/sets", is_folder=True))
        ended, out, err = await run_job(executor, spec("t.1", SH, "-c", script, data=mounts))
    assert ended.code == 0, err
    digest = hashlib.sha256(numbered(0, SIZE)).hexdigest()
    assert out.split()[0] == digest
    assert out.split()[2:] == [str(sum(map(len, names)) + len(names)), "5000", "ro"]


READ = """
import hashlib, sys
data = open(sys.argv[1], "rb").read()
print(len(data), hashlib.sha256(data).hexdigest(), flush=True)
"""
NODE = """
import sys, trio
from pathlib import Path
from p2p.workers import ThreadWorkers
from swarmnode.executor.sandbox.capability import ExecutorConfig
from swarmnode.executor.process import ProcessExecutor
from tests.data_lab import Numbered, Serving, one_file, shown
from tests.job_lab import spec

async def main(folder, away_s, size, *argv):
    config = ExecutorConfig(data_away_s=float(away_s))
    executor = ProcessExecutor(Path(folder), config, {}, ThreadWorkers())
    held = Numbered(is_held=True)
    executor.on_data(Serving(held, one_file(int(size))).serve)
    async with trio.open_nursery() as nursery:
        await nursery.start(executor.run)
        await executor.prepare("t.1")
        await executor.start(spec("t.1", *argv, data=(shown("/d", is_folder=False),)))
        await held.asked.wait()
        print("asked", flush=True)

trio.run(main, *sys.argv[1:])
"""


def node_that_dies_while_somebody_reads(folder: Path, away_s: float, *argv: str) -> None:
    node = subprocess.Popen(
        [sys.executable, "-c", NODE, str(folder), str(away_s), str(SIZE), *argv],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert node.stdout is not None
    assert node.stdout.readline().strip() == "asked"
    node.send_signal(signal.SIGKILL)
    node.wait()
    node.stdout.close()


@needs_python
async def test_a_reader_goes_on_with_the_next_node_where_one_was_killed(tmp_path: Path) -> None:
    node_that_dies_while_somebody_reads(tmp_path / "x", 300.0, PYTHON, "-c", READ, "/d")
    serving = Serving(Numbered(), one_file(SIZE))
    async with running_executor(tmp_path / "x", serve=serving.serve) as executor:
        ended = await executor.wait(JobId("t.1"))
        out = await executor.read_log(JobId("t.1"), "stdout", 0, MIB)
    assert ended.code == 0
    assert out.split() == [b"%d" % SIZE, hashlib.sha256(numbered(0, SIZE)).hexdigest().encode()]
    assert serving.taken_over == 1


@needs_python
async def test_without_a_node_for_too_long_readers_get_an_error(tmp_path: Path) -> None:
    node_that_dies_while_somebody_reads(tmp_path / "x", 0.5, PYTHON, "-c", READ, "/d")
    folder = JobFolder(tmp_path / "x" / "jobs" / "t.1")
    with trio.fail_after(20):
        await until_gone(folder, 0)
    said = folder.stream("stderr").read_text()
    assert "[Errno 103]" in said or "[Errno 107]" in said, said
    async with running_executor(tmp_path / "x"):
        pass


BY_HTTP = """
import os, threading, urllib.request
threading.Thread(target=lambda: open("/d", "rb").read(), daemon=True).start()
try: urllib.request.urlopen(os.environ["SWARM_DATA_URL"] + "/d", timeout=60)
except OSError as error: print(error, flush=True)
os._exit(0)
"""


@needs_python
async def test_without_a_node_for_too_long_nobody_waits_for_an_answer_by_http(
    tmp_path: Path,
) -> None:
    node_that_dies_while_somebody_reads(tmp_path / "x", 0.5, PYTHON, "-c", BY_HTTP)
    folder = JobFolder(tmp_path / "x" / "jobs" / "t.1")
    with trio.fail_after(20):
        await until_gone(folder, 0)
    said = folder.stream("stdout").read_text()
    assert "reset" in said or "refused" in said, said
    async with running_executor(tmp_path / "x"):
        pass


async def test_datasets_that_nobody_can_answer_are_an_error_that_is_told(tmp_path: Path) -> None:
    async def fail(*_: object) -> None:
        raise OSError(22, "requests cannot be asked for again")

    async with running_executor(tmp_path / "x", serve=fail) as executor:
        what = spec("t.1", "/bin/cat", "/d", data=(shown("/d", is_folder=False),))
        ended, _, err = await run_job(executor, what)
    assert ended.code != 0
    assert ended.reason == "exit"
    assert "the datasets end here: requests cannot be asked for again" in err


async def test_a_job_whose_reader_waits_ends_at_once_when_it_is_stopped(tmp_path: Path) -> None:
    held = Numbered(is_held=True)
    async with running_executor(tmp_path / "x") as executor:
        executor.on_data(Serving(held, one_file(SIZE)).serve)
        what = spec("t.1", "/bin/cat", "/d", data=(shown("/d", is_folder=False),))
        await executor.prepare(what.job)
        await executor.start(what)
        await held.asked.wait()
        with trio.fail_after(3):
            ended = await executor.stop(what.job, 0.0)
    assert ended.reason == "killed"


async def test_who_waits_for_bytes_can_be_interrupted(tmp_path: Path) -> None:
    held = Numbered(is_held=True)
    script = "cat /d & sleep 0.5; kill -INT $!; kill $!; wait $!; echo $?"
    async with running_executor(tmp_path / "x") as executor:
        executor.on_data(Serving(held, one_file(SIZE)).serve)
        mounts = (shown("/d", is_folder=False),)
        _, out, _ = await run_job(executor, spec("t.1", SH, "-c", script, data=mounts))
    assert out == "143\n"


MANY_READERS = """
import mmap, os, random, struct, sys
size = os.stat("/d").st_size
def check(data, at): return all(
    int.from_bytes(data[i:i + 8], "big") == at + i for i in range(0, len(data) - 7, 8))
def read(seed):
    rng, fd = random.Random(seed), os.open("/d", 0)
    area = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
    for _ in range(300):
        at, count = rng.randrange(size // 8 - 600) * 8, rng.randrange(1, 600) * 8
        if not check(os.pread(fd, count, at), at) or not check(area[at:at + count], at): return 1
    return 0
children = []
for seed in range(4):
    if (pid := os.fork()) == 0: os._exit(read(seed))
    children.append(pid)
print([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children])
"""


@needs_python
async def test_four_processes_read_and_map_at_random_what_is_there(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        executor.on_data(Serving(Numbered(), one_file(64 * MIB)).serve)
        mounts = (shown("/d", is_folder=False),)
        what = spec("t.1", PYTHON, "-c", MANY_READERS, data=mounts, memory_bytes=512 * MIB)
        _, out, err = await run_job(executor, what)
    assert out == "[0, 0, 0, 0]\n", err


async def test_ten_thousand_files_are_listed(tmp_path: Path) -> None:
    tree = folder_of([b"%05d" % number for number in range(10_000)], 10)
    async with running_executor(tmp_path / "x") as executor:
        executor.on_data(Serving(Numbered(), tree).serve)
        mounts = (shown("/data", is_folder=True),)
        script = "ls -l /data | wc -l; ls /data | tail -1; cat /data/09999 | wc -c"
        _, out, err = await run_job(executor, spec("t.1", SH, "-c", script, data=mounts))
    assert out.split() == ["10001", "09999", "10"], err


async def test_what_cannot_be_given_is_an_error_and_no_wrong_bytes(tmp_path: Path) -> None:
    class Broken(Numbered):
        async def read(self, place: ContentPlace, size: int) -> Pieces:
            if place.offset >= 2 * MIB:
                raise ContentFailedError
            return await super().read(place, size)

    script = "cat /d | wc -c; cat /d > /dev/null"
    async with running_executor(tmp_path / "x") as executor:
        executor.on_data(Serving(Broken(), one_file(SIZE)).serve)
        mounts = (shown("/d", is_folder=False),)
        ended, out, err = await run_job(executor, spec("t.1", SH, "-c", script, data=mounts))
    assert ended.code == 1
    assert out.split() == [str(2 * MIB)]
    assert "Input/output error" in err


def fuse_mounts() -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [line for line in lines if line.startswith("swarm ")]


async def test_nothing_is_left_of_many_jobs_with_data(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        executor.on_data(Serving(Numbered(), one_file(SIZE)).serve)
        mounts = (shown("/d", is_folder=False),)
        before = 0
        for number in range(12):
            script = "head -c 100 /d > /dev/null" if number % 3 else "cat /d > /dev/null & exit 3"
            job = JobId(f"t.{number}")
            await run_job(executor, spec(job, SH, "-c", script, data=mounts))
            await executor.forget(job)
            before = before or len(os.listdir("/proc/self/fd"))
        assert len(os.listdir("/proc/self/fd")) <= before
    assert not fuse_mounts()
    assert not os.listdir(tmp_path / "x" / "jobs")
    assert not processes_with(str(tmp_path))
