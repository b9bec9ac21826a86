"""The machine a task was submitted to goes away: the task goes on, its owner finds it ended."""

import time

from swarmnode.demo.report import objects_in, until
from tests.integration.swarm_lab import log, submit, swarm_of, view, wait
from tests.integration.test_daemon_restarts import processes_of

SECONDS = 45
COUNT = (
    f"i=0; while [ $i -lt {SECONDS} ]; do i=$((i+1)); "
    'echo "{\\"line\\": $i}"; sleep 1; done; echo all > result.txt'
)
HASTY = {"TIMERS__ORPHAN_GRACE_S": "14"}


def test_a_detached_task_outlives_a_machine_that_goes_away_at_once() -> None:
    with swarm_of(3, **HASTY) as swarm:
        submitter, provider, third = swarm.nodes
        provider.client.call("POST", "/api/v1/node/pause", {"grace_s": 0})
        spec = {"run": ["/bin/sleep", "3"], "require": [provider.peer]}
        made = submitter.client.call("POST", "/api/v1/tasks?detach=1", spec)
        swarm.kill_machine(submitter)
        assert (set(made["guardians"]), made["note"]) == ({provider.peer, third.peer}, "")
        provider.client.call("POST", "/api/v1/node/resume")
        jobs = provider.home / "tasks"
        until(lambda: processes_of(jobs), within_s=30, what="it begins without its submitter")
        swarm.start(submitter)
        swarm.wait_ready(30)
        assert wait(submitter, made["task"])["state"] == "done"


def test_a_task_outlives_the_machine_it_was_submitted_to() -> None:
    with swarm_of(3, **HASTY) as swarm:
        submitter, provider, _ = swarm.nodes
        spec = {"run": ["/bin/sh", "-c", COUNT], "outputs": ["result.txt"]}
        task = submit(submitter, spec | {"require": [provider.peer]})
        until(
            lambda: view(submitter, task)["state"] == "running",
            within_s=30,
            what="it runs",
        )
        until(
            lambda: len(view(submitter, task)["guardians"]) == 2,
            within_s=30,
            what="two guardians",
        )
        jobs = provider.home / "tasks"
        before = processes_of(jobs)
        swarm.kill_machine(submitter)
        gone_s = time.monotonic()
        until(
            lambda: time.monotonic() > gone_s + 6 + 14 + 4,
            within_s=60,
            what="longer than a lease and its grace",
        )
        assert processes_of(jobs) == before, "it was stopped with its submitter"
        until(lambda: not processes_of(jobs), within_s=60, what="it ends")
        swarm.start(submitter)
        swarm.wait_ready(30)
        done = wait(submitter, task, within_s=60)
        assert (done["state"], done["exit_code"], done["attempts"]) == ("done", 0, 1)
        assert [one["name"] for one in done["outputs"]] == ["result.txt"]
        lines = list(range(1, SECONDS + 1))
        until(
            lambda: [one["line"] for one in objects_in(log(submitter, task))] == lines,
            within_s=30,
            what="the whole log",
        )
