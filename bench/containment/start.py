"""How long a job takes to its first output where nothing is ready for it, and bubblewrap by itself.

The executor runs, as on any node: nothing is made for a job before it comes, no sandbox, no control
group, no disk; what forks its shim is there, as for every job.

Both print the clock by the same program. Bubblewrap is given what the executor gave it: options,
system-call filter, control groups with limits, work disk, what is laid out and the user to be.
"""

import os
import shutil
import statistics
import tempfile
import time
from itertools import count
from pathlib import Path

import trio

from p2p.workers import ThreadWorkers
from swarmnode.executor.disk.work_disk import WorkDisks
from swarmnode.executor.job_folder import CrashRecord, JobFolder
from swarmnode.executor.kernel.cgroup import JobCgroup
from swarmnode.executor.port import JobId, JobSpec, Limit
from swarmnode.executor.process import ProcessExecutor
from swarmnode.executor.sandbox.capability import ExecutorConfig, templates_in
from swarmnode.executor.shim import pairs, stage
from swarmnode.executor.shim.order import FD_ARGS, FD_DISK, FD_SECCOMP, FD_STATUS, Order
from swarmnode.limits import KILL_TIMEOUT_S

_MIB = 1024 * 1024
_CLOCK = ("/bin/date", "+%s%N")
_REST_S = 0.2
"""Before each: a node has been there for longer than an interpreter takes to come up; and of two
moves into control groups that follow each other the kernel does the second one in no time."""
_numbers = count()


def measure(rounds: int) -> dict[str, object]:
    """Interleaved, medians."""
    folder = Path(tempfile.mkdtemp(prefix="swarm-bench-"))
    folder.chmod(0o711)
    try:
        cold_ms, bare_ms = trio.run(_rounds, folder / "x", rounds)
    finally:
        shutil.rmtree(folder)
    return {
        "starts": rounds,
        "cold_ms": round(statistics.median(cold_ms), 2),
        "bwrap_ms": round(statistics.median(bare_ms), 2),
        "cold_vs_bwrap": round(statistics.median(cold_ms) / statistics.median(bare_ms), 3),
    }


def small_job(job: str, *argv: str, wall_s: float = 60.0) -> JobSpec:
    """Of a few processes."""
    return JobSpec(
        job=JobId(job), argv=argv, env={}, cpu_millis=1000, memory_bytes=256 * _MIB, pids_max=64,
        disk_bytes=64 * _MIB, wall_s=wall_s,
    )  # fmt: skip


async def _rounds(folder: Path, rounds: int) -> tuple[list[float], list[float]]:
    cold_ms: list[float] = []
    bare_ms: list[float] = []
    for number in range(rounds + 1):  # the first makes what later ones find, on both sides
        executor = ProcessExecutor(folder, ExecutorConfig(), {}, ThreadWorkers())
        async with trio.open_nursery() as nursery:
            await nursery.start(executor.run)
            if executor.trouble():
                raise RuntimeError(executor.trouble())
            job = small_job(f"start{number}.1", *_CLOCK)
            await trio.sleep(_REST_S)
            cold = await _cold_ms(executor, job)
            await trio.sleep(_REST_S)
            bare = await trio.to_thread.run_sync(_bare_ms, executor, folder, job)
            if number:
                cold_ms.append(cold)
                bare_ms.append(bare)
            await executor.sweep(frozenset())
            nursery.cancel_scope.cancel()
    return cold_ms, bare_ms


async def _cold_ms(executor: ProcessExecutor, job: JobSpec) -> float:
    await executor.prepare(job.job)
    began_ns = time.time_ns()
    await executor.start(job)
    await executor.wait(job.job)
    said = await executor.read_log(job.job, "stdout", 0, 99)
    return (int(said) - began_ns) / 1e6


def _bare_ms(executor: ProcessExecutor, folder: Path, job: JobSpec) -> float:
    place = JobFolder(folder / "jobs" / job.job)
    record = place.read_record()
    assert record is not None
    order = Order(pairs.read_pairs(str(place.path / "order")))
    image = folder / f"bare{next(_numbers)}"
    (image / "work").mkdir(parents=True)
    disks = WorkDisks(templates_in(folder)) if not executor.enforceable()[Limit.DISK_FS] else None
    began_ns = time.time_ns()
    cgroup = JobCgroup({kind: f"{path}.bare" for kind, path in record.cgroup.items()})
    cgroup.make(job.memory_bytes, job.pids_max, job.cpu_millis)
    disk = disks.make(image, image / "work", job.disk_bytes) if disks else None
    if disk is not None:
        os.chown(disk.root, record.uid, record.uid)
    try:
        said = _run_bare(order, record, cgroup, disk.another() if disk else -1)
    finally:
        if disk is not None:
            disk.close()
        cgroup.kill(KILL_TIMEOUT_S)
        cgroup.remove()
        shutil.rmtree(image)
    return (int(said) - began_ns) / 1e6


def _run_bare(order: Order, record: CrashRecord, cgroup: JobCgroup, disk: int) -> bytes:
    """What the program printed."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _be_bubblewrap(order, record, cgroup, disk, theirs)
        finally:
            os._exit(125)
    os.close(theirs)
    if disk >= 0:
        os.close(disk)
    with open(ours, "rb") as pipe:
        said = pipe.read()
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError("bubblewrap by itself failed")
    return said


def _be_bubblewrap(
    order: Order, record: CrashRecord, cgroup: JobCgroup, disk: int, out: int
) -> None:
    """Between fork and exec."""
    cgroup.enter()
    os.dup2(out, 1)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, FD_STATUS)
    os.dup2(os.open(order.sandbox.seccomp, os.O_RDONLY), FD_SECCOMP)
    os.dup2(os.open(order.sandbox.bwrap_args, os.O_RDONLY), FD_ARGS)
    if disk >= 0:
        os.dup2(disk, FD_DISK)
    if record.uid:
        os.fchown(1, record.uid, record.uid)
        stage.lay_out(order.sandbox.stage)
        stage.become(record.uid)
    os.execve(order.argv[0], order.argv, order.env)  # noqa: S606
