import os
import random

import pytest

from swarmnode.demo.report import until
from tests.integration.swarm_lab import json_lines, log, submit, swarm_of, view, wait

REPETITIONS = 3
REPETITIONS_ALL = 50
LINES = 40
COUNT = (
    f"i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); "
    'echo "{\\"line\\": $i}"; sleep 0.05; done; exit 7'
)


def kill_and_restart(repetitions: int, seed: int) -> None:
    dice = random.Random(seed)
    with swarm_of(2) as swarm:
        owner, provider = swarm.nodes
        for number in range(repetitions):
            where = f"repetition {number}, seed {seed}"
            spec = {"run": ["/bin/sh", "-c", COUNT], "require": [provider.peer], "retries": 0}
            task = submit(owner, spec)
            enough = dice.randrange(1, LINES - 5)
            until(
                lambda t=task, n=enough: len(json_lines(log(owner, t))) >= n,
                within_s=30,
                what=f"line {enough} ({where})",
            )
            jobs = provider.home / "tasks"
            before = shim_pids(jobs)
            swarm.kill_daemon(provider)
            swarm.start(provider)
            done = wait(owner, task)
            lines = [line["line"] for line in json_lines(log(owner, task))]
            assert done["exit_code"] == 7, (where, done)
            assert lines == list(range(1, LINES + 1)), where
            assert len(view(owner, task)["attempts"]) == 1, where
            assert before, where
            swarm.wait_ready(30)


def shim_pids(folder: os.PathLike[str]) -> list[str]:
    mark = os.fsencode(folder)
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                text = file.read()
        except OSError:
            continue
        if mark in text:
            found.append(name)
    return found


def test_a_task_survives_the_daemon_it_runs_under() -> None:
    kill_and_restart(REPETITIONS, seed=1)


@pytest.mark.slow
def test_a_task_survives_its_daemon_fifty_times() -> None:
    kill_and_restart(REPETITIONS_ALL, seed=2)
