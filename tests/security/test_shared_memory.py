"""What tasks of the sandbox `container` leave in memory that all of them share ends with them."""

import os
import signal
from pathlib import Path

import pytest
import trio

from swarmnode.executor.port import JobId
from swarmnode.executor.process import ProcessExecutor
from swarmnode.executor.sandbox.paths import SHARED
from swarmnode.resources.mounts import read_proc
from tests.job_lab import MIB, PYTHON, needs_python, needs_root, own_users, running_executor, spec

pytestmark = [needs_root, needs_python]
MARK = f"of-t{os.getpid()}"
JOB, OTHER = JobId(f"t{os.getpid()}.1"), JobId(f"t{os.getpid()}.2")
LEAVES = """
import ctypes, os, time
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
memory = libc.shmget(0, 1 << 20, 0o1600)
ctypes.memset(ctypes.c_void_p(libc.shmat(memory, None, 0)), 115, 1 << 20)
made = [memory, libc.semget(0, 4, 0o1666), libc.msgget(0, 0o1666)]
name = "/dev/shm/of-" + os.environ["JOB"]
open(name, "wb").write(bytes(1 << 20))
os.makedirs(name + ".d/locked/" + "/".join("d" * 200))
open(name + ".d/locked/f", "w").write("x"); os.chmod(name + ".d/locked", 0)
os.symlink("/etc", name + ".l")
print(*made, flush=True)
if os.environ.get("STAYS"): time.sleep(60)
"""
KINDS = ("shm", "sem", "msg")


def made(kind: str) -> int:
    head, *lines = map(str.split, read_proc(f"/proc/sysvipc/{kind}").splitlines())
    by, (users, _) = head.index("cuid"), own_users()
    return sum(int(line[by]) in users for line in lines)


def there() -> list[int]:
    """How many of each kind tasks of ours have made, and files like those."""
    return [
        *map(made, KINDS),
        len([name for name in os.listdir(SHARED[0]) if name.startswith(MARK)]),
    ]


async def said(executor: ProcessExecutor, job: JobId) -> list[int]:
    out = b""
    with trio.fail_after(20):
        while not out.endswith(b"\n"):
            await executor.log_grew(job, "stdout", len(out))
            out = await executor.read_log(job, "stdout", 0, MIB)
    return [int(one) for one in out.split()]


@pytest.mark.skipif(not os.path.isdir("/proc/sysvipc"), reason="no System V IPC in this kernel")
@pytest.mark.parametrize("way", ["its own end", "a stop", "the death of its shim"])
async def test_what_a_task_leaves_in_shared_memory_goes_with_it_and_nobody_elses(
    open_path: Path, way: str
) -> None:
    before = there()
    async with running_executor(open_path / "x", sandbox="container") as executor:
        stays = {"STAYS": "1"}
        for job, more in ((OTHER, stays), (JOB, {} if way == "its own end" else stays)):
            await executor.prepare(job)
            env = {"JOB": str(job), **more}
            await executor.start(spec(job, PYTHON, "-c", LEAVES, env=env))
            assert min(await said(executor, job)) >= 0
        state = executor._known(JOB).folder.read_state()
        assert state is not None
        if way == "a stop":
            await executor.stop(JOB, 0)
        elif way == "the death of its shim":
            os.kill(state.shim, signal.SIGKILL)
        await executor.wait(JOB)
        assert there() == [now + more for now, more in zip(before, (1, 1, 1, 3), strict=True)]
        await executor.stop(OTHER, 0)
        assert there() == before


async def test_nothing_of_a_task_stays_where_every_user_may_write(open_path: Path) -> None:
    """A kernel without Landlock lets it write there."""
    async with running_executor(open_path / "x", sandbox="container") as executor:
        await executor.prepare(JOB)
        await executor.start(spec(JOB, "/bin/sleep", "60"))
        uid = executor._known(JOB).record.uid
        places = [Path(folder, MARK) for folder in SHARED[1:]]
        for place in places:
            place.mkdir(mode=0o700)
            (place / "f").touch()
            os.chown(place, uid, uid)
        await executor.stop(JOB, 0)
        assert [str(place) for place in places if os.path.lexists(place)] == []  # noqa: ASYNC240
