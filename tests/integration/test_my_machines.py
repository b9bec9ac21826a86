"""Real nodes: two machines of one person act for each other, and the lab's key for everybody."""

import json
import os
import time
from pathlib import Path
from typing import Any

from p2p.identity.issue import DAY_MS, Grant, Names
from swarmnode.demo.launcher import LocalNode, new_root
from swarmnode.demo.report import until
from swarmnode.home import enrol
from tests.integration.swarm_lab import all_see_all, put, submit, view
from tests.integration.test_members import Lab, _home, command

SLEEP = {"run": ["/bin/sleep", "600"]}


class Machines(Lab):
    """`bob-2` is one more machine of bob's."""

    def _enrol(self, home: Path, names: Names) -> str:
        if names.machine != "bob-2":
            return super()._enrol(home, names)
        bob = next(node for node in self.nodes if node.name == "bob")
        now_ms = time.time_ns() // 1_000_000
        grant = Grant(valid_ms=DAY_MS, own_machine=True)
        invite = enrol.make_invite(_home(bob.home), [bob.listen], grant, os.urandom, now_ms)
        return enrol.join(_home(home), invite, names, os.urandom, now_ms).peer


def objects_of(node: LocalNode) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in node.client.get("/api/v1/objects")}


def test_a_persons_machines_act_for_each_other_and_the_labs_key_for_all() -> None:
    swarm = Machines(new_root())
    try:
        for name in ("ann", "bob", "bob-2", "carol"):
            swarm.add(name)
            swarm.start(swarm.nodes[-1])
        swarm.wait_ready(30)
        until(lambda: all_see_all(swarm), within_s=30, what="everybody seen by everybody")
        ann, bob, second, carol = swarm.nodes
        _brought_and_tried_again(bob, second)
        _tasks(swarm, bob, second, carol)
        _objects(ann, bob, second, carol)
    finally:
        swarm.destroy()


def _brought_and_tried_again(bob: LocalNode, second: LocalNode) -> None:
    task = submit(bob, {"run": ["/bin/sh", "-c", "echo said; echo left > out"], "outputs": ["out"]})
    until(lambda: view(bob, task)["state"] == "done", within_s=30, what="it has ended")
    folder = second.home / "brought"
    done = command(second, "task", "get", task, str(folder))
    assert done.returncode == 0, done.stderr
    assert (folder / "outputs" / "out").read_text() == "left\n"
    assert (folder / "logs" / "stdout").read_text() == "said\n"
    done = command(second, "task", "retry", task, "-o", "jsonl")
    again = json.loads(done.stdout)["task"]
    until(lambda: view(second, again)["state"] == "done", within_s=30, what="it was tried again")


def _tasks(swarm: Machines, bob: LocalNode, second: LocalNode, carol: LocalNode) -> None:
    task = submit(bob, SLEEP | {"require": [carol.peer]})
    until(lambda: view(bob, task)["state"] == "running", within_s=30, what="it runs")
    until(lambda: len(view(bob, task)["guardians"]) == 2, within_s=30, what="two guardians")
    assert command(carol, "task", "cancel", task).returncode == 5
    assert json.loads(command(second, "task", "show", task, "-o", "json").stdout)["why"] == ""
    swarm.kill_machine(bob)
    done = command(second, "task", "cancel", task)
    assert (done.returncode, "cancelled" in done.stdout) == (0, True), done.stderr
    swarm.start(bob)
    swarm.wait_ready(30)
    until(lambda: view(bob, task)["state"] == "cancelled", within_s=30, what="its owner knows")
    assert view(bob, task)["why"] == "cancelled from bob-2"
    until(lambda: all_see_all(swarm), within_s=30, what="everybody seen by everybody")


def _objects(ann: LocalNode, bob: LocalNode, second: LocalNode, carol: LocalNode) -> None:
    for name in ("one", "two"):
        put(bob, os.urandom(100_000), name)
    one, two = (objects_of(bob)[name]["address"] for name in ("one", "two"))
    assert command(carol, "obj", "rm", one).returncode == 5
    assert command(carol, "obj", "rm", "--as-lab", one).returncode == 4
    assert command(second, "obj", "rm", one).returncode == 0
    until(lambda: "one" not in objects_of(bob), within_s=30, what="the other machine knows")
    done = command(ann, "obj", "rm", "--as-lab", "--reason", "by mistake", two)
    assert done.returncode == 0, done.stderr
    until(lambda: objects_of(bob)["two"]["removed_why"] == "by mistake", within_s=30, what="why")
    again = command(ann, "obj", "rm", "--as-lab", "--reason", "by mistake", two)
    assert (again.returncode, "removed it on" in again.stderr) == (5, True), again.stderr
    said = command(bob, "status", "--check")
    assert (said.returncode, "by mistake" in said.stdout + said.stderr) == (6, True)
    read = command(bob, "obj", "get", objects_of(bob)["two"]["cap"], "-")
    assert (read.returncode, "by mistake" in read.stderr) == (5, True)
    assert command(bob, "obj", "rm", two).returncode == 0
    until(
        lambda: command(bob, "status", "--check").returncode == 0, within_s=30, what="all is well"
    )
