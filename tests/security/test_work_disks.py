"""A work folder is a file system of its own, where the node is root; what becomes of it."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trio

from p2p.workers import ThreadWorkers
from swarmnode.errors import JobUnknownError, LimitNotEnforceableError
from swarmnode.executor.disk.work_disk import WorkDisks, image_bytes
from swarmnode.executor.disk.work_use import IMAGE
from swarmnode.executor.port import JobId, Limit
from swarmnode.executor.process import ProcessExecutor
from swarmnode.executor.sandbox.capability import ExecutorConfig
from tests.job_lab import MIB, SH, needs_bwrap, needs_root, run_job, running_executor, spec
from tests.small_disk import small_disk

pytestmark = [needs_bwrap, needs_root]
JOB = JobId("t.1")
ROOT = Path(__file__).resolve().parents[2]


def skip_without_disks(executor: ProcessExecutor) -> None:
    if why := executor.enforceable()[Limit.DISK_FS]:
        pytest.skip(why)


def loops_of(folder: Path) -> list[str]:
    """Loop devices whose file lies in a folder."""
    found = []
    for place in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            text = place.read_text()
        except OSError:
            continue
        if text.startswith(str(folder)):
            found.append(text)
    return found


def mounts() -> str:
    return Path("/proc/self/mountinfo").read_text()


async def until_no_loop(folder: Path) -> None:
    """The kernel lets go a moment after the last user."""
    with trio.fail_after(10):
        while loops_of(folder):  # noqa: ASYNC110 - the kernel tells nobody
            await trio.sleep(0.02)


async def some(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def read(executor: ProcessExecutor, name: str) -> bytes:
    return b"".join([piece async for piece in executor.read_file(JOB, name)])


async def test_a_large_disk_costs_nothing_before_it_is_used(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        skip_without_disks(executor)
        what = spec(JOB, SH, "-c", "df -k /work | tail -n 1", disk_bytes=64 * 1024 * MIB)
        _, out, err = await run_job(executor, what)
        image = os.stat(tmp_path / "x" / "jobs" / JOB / IMAGE)
    assert int(out.split()[3]) * 1024 >= 64 * 1024 * MIB, err
    assert image.st_blocks * 512 < 16 * MIB


@pytest.mark.parametrize("mib", [1, 7, 100, 2000])
async def test_all_of_a_disk_can_be_used_and_little_more(tmp_path: Path, mib: int) -> None:
    most, more = mib * MIB - 256 * 1024, (mib // 8 + 8) * MIB
    script = f"fallocate -l {most} a && echo fits; fallocate -l {more} b"
    async with running_executor(tmp_path / "x") as executor:
        skip_without_disks(executor)
        _, out, err = await run_job(executor, spec(JOB, SH, "-c", script, disk_bytes=mib * MIB))
    assert out == "fits\n", err
    assert "No space left" in err
    assert image_bytes(mib * MIB) < 1.2 * mib * MIB + 4 * MIB


async def test_files_are_reached_before_during_and_after_a_task_and_by_the_next_node(
    tmp_path: Path,
) -> None:
    script = "cat in; rm in; echo one > a; while [ ! -e go ]; do sleep 0.02; done; echo two > b"
    what = spec(JOB, SH, "-c", script)
    async with running_on(tmp_path / "x") as executor:
        skip_without_disks(executor)
        await executor.prepare(JOB)
        await executor.put_file(JOB, "in", some(b"given\n"))
        await executor.start(what)
        await executor.log_grew(JOB, "stdout", 0)
        with trio.fail_after(10):
            while [f.size for f in await executor.list_files(JOB, "a")] != [4]:  # noqa: ASYNC110
                await trio.sleep(0.02)
    async with running_on(tmp_path / "x") as executor:
        assert await read(executor, "a") == b"one\n"
        assert await executor.list_files(JOB, "in") == ()
        await executor.put_file(JOB, "go", some(b""))
        ended = await executor.wait(JOB)
    async with running_on(tmp_path / "x") as executor:  # the image is in nobody's hands now
        assert [await read(executor, name) for name in ("a", "b")] == [b"one\n", b"two\n"]
        assert await executor.list_files(JOB, "in") == ()
        await executor.sweep(frozenset())
    assert ended.code == 0
    assert Limit.DISK_FS in ended.enforced
    await until_no_loop(tmp_path)


class running_on:
    """A node that goes away and leaves its jobs as they are."""

    def __init__(self, folder: Path) -> None:
        self._executor = ProcessExecutor(folder, ExecutorConfig(), {}, ThreadWorkers())
        self._nursery = trio.open_nursery()

    async def __aenter__(self) -> ProcessExecutor:
        self._scope = await self._nursery.__aenter__()
        await self._scope.start(self._executor.run)
        if trouble := self._executor.trouble():
            pytest.skip(trouble)
        return self._executor

    async def __aexit__(self, *failure: object) -> None:
        self._scope.cancel_scope.cancel()
        await self._nursery.__aexit__(*failure)  # type: ignore[arg-type]


NODE = """
import sys, trio
from pathlib import Path
from tests.job_lab import running_executor, spec
async def main():
    async with running_executor(Path(sys.argv[1])) as executor:
        for job in ("run.1", "ready.1"):
            await executor.prepare(job)
        await executor.start(spec("run.1", "/bin/sh", "-c", "echo up; sleep 600"))
        await executor.log_grew("run.1", "stdout", 0)
        print(executor._known("run.1").folder.read_state().shim, flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


async def test_nothing_is_left_of_disks_when_node_and_shim_are_killed(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    node = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", NODE, str(folder)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert node.stdout is not None
    with node.stdout as said:
        shim = await trio.to_thread.run_sync(said.readline)
    assert shim.strip().isdigit()
    had = loops_of(folder)
    for pid in (node.pid, int(shim)):
        os.kill(pid, signal.SIGKILL)
    node.wait()
    await until_no_loop(folder)
    assert str(folder) not in mounts()
    async with running_executor(folder) as executor:
        skip_without_disks(executor)
        await executor.sweep(frozenset())
        assert list((folder / "jobs").iterdir()) == []
        assert list((folder / "shared" / "disks").glob("spare-*")) == []
    assert [path for path in had if "spare" not in path] == [f"{folder}/jobs/run.1/{IMAGE}\n"]


async def test_the_disk_that_is_kept_ready_is_the_next_tasks_and_an_empty_one(
    tmp_path: Path,
) -> None:
    script = "ls -A; df -k . | tail -n 1; echo mine > f"
    async with running_executor(tmp_path / "x") as executor:
        skip_without_disks(executor)
        disks = tmp_path / "x" / "shared" / "disks"

        def ready() -> list[Path]:
            return list(disks.glob(f"spare-{32 * MIB}-*"))

        for number in range(3):
            _, out, err = await run_job(executor, spec(f"t.{number}", SH, "-c", script))
            assert len(out.splitlines()) == 1, err
            with trio.fail_after(10):
                while not ready():  # noqa: ASYNC110 - nobody is told of it
                    await trio.sleep(0.02)
    assert not ready()
    await until_no_loop(tmp_path)


async def test_a_full_disk_of_the_machine_ends_the_task_and_not_the_node(tmp_path: Path) -> None:
    script = "while dd if=/dev/zero of=f bs=1M count=4 oflag=append conv=notrunc,fsync; do :; done"
    with small_disk(tmp_path / "small", 64) as disk:
        async with running_executor(disk / "x") as executor:
            skip_without_disks(executor)
            what = spec(JOB, SH, "-c", script, disk_bytes=256 * MIB)
            ended, _, _ = await run_job(executor, what)
            await executor.forget(JOB)
            again, out, err = await run_job(executor, spec("t.2", SH, "-c", "echo fine"))
        await until_no_loop(disk)
    assert ended.reason == "lost"
    assert (again.code, out) == (0, "fine\n"), err


async def test_a_disk_that_cannot_be_furnished_leaves_neither_device_nor_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(path: str, **_: object) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)

    disks = WorkDisks(tmp_path / "templates")
    if why := disks.trouble():
        pytest.skip(why)
    (tmp_path / "job" / "work").mkdir(parents=True)
    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr("swarmnode.executor.disk.work_disk.os.rmdir", refuses)
    with pytest.raises(OSError, match="busy"):
        disks.make(tmp_path / "job", tmp_path / "job" / "work", 3 * MIB)
    monkeypatch.undo()
    assert os.listdir("/proc/self/fd") == before
    await until_no_loop(tmp_path)
    disks.make(tmp_path / "job", tmp_path / "job" / "work", 3 * MIB).close()


def test_tasks_that_start_together_get_a_whole_disk_each(tmp_path: Path) -> None:
    disks = WorkDisks(tmp_path / "templates")
    if why := disks.trouble():
        pytest.skip(why)

    def start(number: int) -> None:
        folder = tmp_path / f"job{number}"
        (folder / "work").mkdir(parents=True)
        disk = disks.make(folder, folder / "work", 8 * MIB)
        disks.stock(8 * MIB)
        Path(disk.root, "a").write_bytes(bytes(MIB))
        assert Path(disk.root, "a").read_bytes() == bytes(MIB)
        disk.close()

    with ThreadPoolExecutor(max_workers=4) as threads:
        list(threads.map(start, range(40)))
    disks.let_go()
    assert not list((tmp_path / "templates").glob("spare-*"))


async def test_a_job_that_is_forgotten_while_it_is_looked_at_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_executor(tmp_path / "x") as executor:
        await executor.prepare(JOB)
        monkeypatch.setattr(executor, "_work", lambda _job: str(tmp_path / "gone"))
        with pytest.raises(JobUnknownError):
            await executor.scan(JOB)


async def test_a_machine_without_the_means_says_so_and_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarmnode.executor.disk.work_disk.shutil.which", lambda *_, **__: None)
    async with running_executor(tmp_path / "x") as executor:
        why = executor.enforceable()[Limit.DISK_FS]
        assert "mkfs.ext4 is missing" in why
        assert "measured" in why
        script = "head -c 50000000 /dev/zero > a; sleep 20"
        ended, _, _ = await run_job(executor, spec(JOB, SH, "-c", script, disk_bytes=10 * MIB))
        insists = frozenset({Limit.DISK_FS})
        with pytest.raises(LimitNotEnforceableError, match=r"mkfs\.ext4"):
            await executor.start(spec("t.2", SH, "-c", "true", must_enforce=insists))
    assert Limit.DISK in ended.enforced
    assert Limit.DISK_FS not in ended.enforced
    assert ended.reason == "disk" or ended.code
