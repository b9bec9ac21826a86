import os
import random
from functools import partial
from pathlib import Path

import pytest

from swarmnode.demo.launcher import LocalNode
from swarmnode.demo.report import objects_in, until
from tests.integration.swarm_lab import log, submit, swarm_of, view, wait
from tests.job_lab import work_folder

REPETITIONS = 2
REPETITIONS_ALL = 50
LINES = 80
# The second half waits for the test: a restart takes as long as a busy machine lets it.
COUNT = (
    f"i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); "
    f"while [ $i -gt {LINES // 2} ] && [ ! -e go ]; do sleep 0.05; done; "
    'echo "{\\"line\\": $i}"; sleep 0.1; done; exit 7'
)
# A restart takes two seconds, many more on a busy machine: nobody may be held for dead meanwhile.
PATIENT = {
    "TIMERS__SUSPICION_S": "20",
    "TIMERS__LEASE_S": "30",
    "TIMERS__LEASE_RENEW_S": "2",
}


def kill_and_restart(repetitions: int, seed: int) -> None:
    dice = random.Random(seed)
    with swarm_of(2, **PATIENT) as swarm:
        owner, provider = swarm.nodes
        jobs = provider.home / "tasks"
        for number in range(repetitions):
            where = f"repetition {number}, seed {seed}"
            spec = {"run": ["/bin/sh", "-c", COUNT], "require": [provider.peer], "retries": 0}
            task = submit(owner, spec)
            enough = dice.randrange(1, LINES // 2)
            until(
                partial(has_lines, owner, task, enough),
                within_s=30,
                what=f"line {enough} ({where})",
            )
            before = processes_of(jobs)
            swarm.kill_daemon(provider)
            assert processes_of(jobs) == before, where
            swarm.start(provider)
            swarm.wait_ready(30)
            after = processes_of(jobs)
            for job in jobs.glob("jobs/*"):
                if work_folder(job).exists():  # not of the one before, which may wait for a receipt
                    (work_folder(job) / "go").touch()
            done = wait(owner, task)
            lines = [line["line"] for line in objects_in(log(owner, task))]
            assert done["exit_code"] == 7, (where, done)
            assert lines == list(range(1, LINES + 1)), where
            assert view(owner, task)["attempts"] == 1, where
            assert before, where
            assert after == before, f"{where}: the task was not running any more, or another is"


def has_lines(owner: LocalNode, task: str, count: int) -> bool:
    return len(objects_in(log(owner, task))) >= count


def processes_of(jobs: Path) -> list[int]:
    """Shims of a node's jobs, and whatever runs below them."""
    mark, parents, shims = os.fsencode(jobs), {}, []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            text = Path("/proc", name, "cmdline").read_bytes()
            stat = Path("/proc", name, "stat").read_text()
            is_shim = mark in text and not os.readlink(f"/proc/{name}/fd/0").startswith("socket:")
        except OSError:
            continue  # it has just ended
        parents[int(name)] = int(stat.rpartition(")")[2].split()[1])
        if is_shim:  # one that has a job, and does not wait for one at its socket
            shims.append(int(name))
    found = set(shims)
    while below := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= below
    # The command's own children, one `sleep` after another, come and go.
    return sorted(pid for pid in found if pid in shims or parents[pid] in shims)


def test_a_task_survives_the_daemon_it_runs_under() -> None:
    kill_and_restart(REPETITIONS, seed=1)


@pytest.mark.slow
def test_a_task_survives_its_daemon_fifty_times() -> None:
    kill_and_restart(REPETITIONS_ALL, seed=2)
