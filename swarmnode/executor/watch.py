"""How a node notices that a shim is gone, and ends what a shim left behind."""

import contextlib
import logging
import os
import signal
import stat

import trio

from swarmnode.executor.disk import safe_files
from swarmnode.executor.job_folder import CrashRecord, JobFolder, boot_id, lost_exit
from swarmnode.executor.kernel.cgroup import JobCgroup
from swarmnode.executor.kernel.proc import start_ticks
from swarmnode.executor.port import JobExit
from swarmnode.executor.sandbox.paths import SHARED
from swarmnode.executor.shim import uid_mode
from swarmnode.limits import JOB_START_TIMEOUT_S, KILL_TIMEOUT_S

_LOOK_S = 0.05
log = logging.getLogger("swarm")


async def until_ready(folder: JobFolder, shim: int, ready: int) -> None:
    """Return once a shim, our child, has said that its job runs, or is over already.

    One that says neither is ended: it may be frozen, and nothing could stop or bound its job.
    """
    async with trio.lowlevel.FdStream(ready) as stream:
        with trio.move_on_after(JOB_START_TIMEOUT_S) as late:
            await stream.receive_some(64)
    if late.cancelled_caught and folder.read_state() is None:
        log.warning("%s was not started in time: it is given up here", folder.path.name)
        with contextlib.suppress(ProcessLookupError):
            os.kill(shim, signal.SIGKILL)


async def until_gone(folder: JobFolder, shim: int) -> None:
    """Return once no shim holds the job's lock. `shim`: its pid when it is our own child."""
    while folder.shim_lives():
        state = folder.read_state()
        pid = shim or (state.shim if state else 0)
        watch = _pidfd(pid) if pid else None
        if watch is None:  # it has not come to say its pid, or the kernel has no pidfd
            await trio.sleep(_LOOK_S)
            continue
        try:
            if folder.shim_lives():  # it still does, so the descriptor is the right process
                await trio.lowlevel.wait_readable(watch)
        finally:
            os.close(watch)


def reap(shim: int) -> None:
    """It is gone: take its end, where it was our own child and not 0."""
    if shim:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(shim, os.WNOHANG)


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def final_exit(folder: JobFolder, record: CrashRecord) -> JobExit:
    """What the shim noted, or "lost" if it could not; then nothing of the job is left. Blocking."""
    exited = folder.read_exit()
    if exited is None:
        kill_left_over(folder, record)
        try:
            exited = folder.write_lost()
        except OSError as exc:  # a full disk; the next node will find out again
            log.warning("cannot note how %s ended: %s", record.spec.job, exc.strerror)
            exited = lost_exit()
    elif record.is_container and record.boot_id == boot_id():
        _clear_shared(record)
    return exited


def kill_left_over(folder: JobFolder, record: CrashRecord) -> None:
    """Kill whatever of the job still runs in this boot, and remove its groups. Blocking.

    bubblewrap dies with its shim, but only mostly at once: the groups and, in `container`, the
    user are what makes it sure.
    """
    if record.boot_id != boot_id():
        return
    state = folder.read_state()
    if state is not None:
        _kill_same(state.shim, state.shim_start)
        _kill_same(state.pid, state.pid_start)
    cgroup = JobCgroup(record.cgroup)
    cgroup.kill(KILL_TIMEOUT_S)
    cgroup.remove()
    if record.is_container:
        uid_mode.kill_user(record.uid, record.guard_uid)
        _clear_shared(record)


def _clear_shared(record: CrashRecord) -> None:
    """What a task of `container` leaves where all tasks may write: no process of it lives."""
    uid_mode.remove_ipc(record.uid, record.guard_uid)
    for folder in filter(os.path.isdir, SHARED):
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            try:
                _remove_if_of(record.uid, path)
            except FileNotFoundError:
                continue  # another task's, which removes it itself
            except OSError as exc:
                log.warning("what %s left in %s stays: %s", record.spec.job, path, exc.strerror)


def _remove_if_of(uid: int, path: str) -> None:
    info = os.lstat(path)
    if info.st_uid == uid and stat.S_ISDIR(info.st_mode):
        safe_files.remove_tree(path)
    elif info.st_uid == uid:
        os.unlink(path)


def _kill_same(pid: int, start: int) -> None:
    """That process, and none that got its number later."""
    if start and start_ticks(pid) == start:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
