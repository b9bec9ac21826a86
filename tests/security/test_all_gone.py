"""Whatever a job did: nothing of it runs 1.5 s after its end, or after the order to stop.

Left-over processes are what users of others complain of: containers/bubblewrap#529, #633, #692,
hashicorp/nomad#176.
"""

import os
import shutil
import subprocess
import time
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
import trio

from swarmnode.demo.report import until
from swarmnode.executor.port import JobId
from swarmnode.executor.process import ProcessExecutor
from tests.hostile_lab import Ended, Try, run_tries
from tests.job_lab import MIB, PYTHON, needs_bwrap, needs_python, running_executor, spec
from tests.open_folder import open_folder

pytestmark = needs_python
JOB = JobId("t.1")
GONE_S = 1.5

HIDE = (
    "import os, signal, sys, time\n"
    "mark = sys.argv[1]\n"
    "def stay():\n"
    "    for number in range(1, 32):\n"
    "        if number not in (9, 19): signal.signal(number, signal.SIG_IGN)\n"
    "    time.sleep(600)\n"
)
WAYS = {
    "two forks and a session of its own": (
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0: stay()\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    ),
    "a thousand that ignore every signal": (
        "for _ in range(1000):\n    if os.fork() == 0:\n        os.setsid(); stay()\n"
    ),
    "children that are stopped": (
        "for _ in range(50):\n"
        "    if os.fork() == 0:\n"
        "        os.setpgid(0, 0); os.kill(os.getpid(), signal.SIGSTOP); stay()\n"
    ),
    "forks without end, at the limit": (
        "if os.fork() == 0:\n"
        "    while True:\n"
        "        try:\n"
        "            if os.fork() == 0: os.setsid()\n"
        "        except OSError: pass\n"
    ),
    "children that die and are made again": (
        "for _ in range(20):\n"
        "    if os.fork() == 0:\n"
        "        while True:\n"
        "            if os.fork(): os._exit(0)\n"
    ),
}
"""What a job does before it says `up`; each process has the mark of its job among its words."""


UNCONFINED = (
    "import os, signal, sys, time\n"
    "ours, theirs = os.pipe()\n"
    "group = os.fork()\n"
    "if group == 0:\n"
    "    os.setsid()\n"
    "    for _ in range(1000):\n"
    "        if os.fork() == 0: time.sleep(600)\n"
    "    os.write(theirs, b'up'); time.sleep(600)\n"
    "os.read(ours, 2)\n"
    "begun_s = time.monotonic()\n"
    "os.killpg(group, signal.SIGKILL); os.waitpid(group, 0)\n"
    "try:\n"
    "    while True: os.killpg(group, 0); time.sleep(0.002)\n"
    "except ProcessLookupError: print(time.monotonic() - begun_s)\n"
)


def bound_s(way: str) -> float:
    """Of a thousand processes the kernel's own work is most, and others may want the processor."""
    if os.getpriority(os.PRIO_PROCESS, 0) > 0:  # a shim that goes after everybody is late, too
        return 8 * GONE_S
    if "thousand" not in way:
        return 2 * GONE_S if "PYTEST_XDIST_WORKER" in os.environ else GONE_S
    argv = [PYTHON, "-I", "-S", "-c", UNCONFINED]
    said = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    return max(GONE_S, 2 * float(said.stdout))


def alive(mark: str) -> list[int]:
    """Processes with the mark that still run: those that only wait to be reaped are gone."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue
        if mark.encode() in words:
            found.append(int(name))
    return found


@pytest.fixture(params=["bwrap", "container"])
def box(request: pytest.FixtureRequest) -> str:
    if request.param == "container" and os.geteuid() != 0:
        pytest.skip("needs root: users are changed")
    if request.param == "bwrap" and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is missing: apt install bubblewrap")
    return str(request.param)


def until_none(mark: str) -> None:
    """What ends a job is its shim: nobody here has to go on meanwhile."""
    until(lambda: not alive(mark), within_s=60, what="all of it is gone", every_s=0.05)


def first_of(executor: ProcessExecutor, box: str) -> int:
    """The host's pid of the job's own first process; bubblewrap's stands above it."""
    state = executor._known(JOB).folder.read_state()
    assert state is not None
    if box == "container":
        return state.pid
    look = partial(children_of, state.pid)
    return until(look, within_s=60, what="its program is there", every_s=0.001)[0]


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture(scope="module")
def as_user() -> dict[str, Ended]:
    """What becomes of them on a node of a plain user, who has no control groups here."""
    begin = "print(time.time(), flush=True); os._exit(3)"
    tries = [
        Try(way, HIDE.replace("sys.argv[1]", "''") + WAYS[way] + begin, bool, {"pids_max": 300})
        for way in WAYS
        if "thousand" not in way
    ]
    with open_folder() as folder:
        return run_tries(folder, tries, as_user=True)


@needs_bwrap
@pytest.mark.parametrize("way", [way for way in WAYS if "thousand" not in way])
def test_everything_of_a_users_job_is_gone(as_user: dict[str, Ended], way: str) -> None:
    ended = as_user[way]
    assert (ended.code, ended.reason, ended.left) == (3, "exit", 0), ended
    assert ended.over_s - float(ended.out) < bound_s(way), ended


ENDS = [(way, end) for way in WAYS for end in ("its own", "stop")]
"""All but a thousand at their own end: ten seconds for what the order to stop shows, too."""


@pytest.mark.parametrize(
    ("way", "end"), [e for e in ENDS if "thousand" not in e[0] or e[1] == "stop"]
)
async def test_everything_of_a_job_is_gone(open_path: Path, box: str, way: str, end: str) -> None:
    mark = f"mark-{uuid4().hex}"
    last = "" if end == "its own" else "stay()\n"
    script = f"{HIDE}{WAYS[way]}os.write(1, b'up')\nos.read(0, 1)\n{last}os._exit(3)"
    async with running_executor(open_path / "x", box) as executor:
        await executor.prepare(JOB)
        argv = (PYTHON, "-I", "-S", "-c", script, mark)
        room = 1200 if "thousand" in way else 300
        what = spec(JOB, *argv, pids_max=room, memory_bytes=1024 * MIB, wall_s=120.0)
        await executor.start(what)
        if end == "stop":
            await executor.log_grew(JOB, "stdout", 0)
            begun_s = time.monotonic()
            ended = await executor.stop(JOB, 0)
            assert ended.reason == "killed"
        else:
            first = os.pidfd_open(first_of(executor, box))
            await trio.lowlevel.wait_readable(first)
            begun_s = time.monotonic()
            os.close(first)
        until_none(mark)
        took_s = time.monotonic() - begun_s
        with trio.fail_after(10):
            await executor.wait(JOB)
    assert took_s < bound_s(way)
