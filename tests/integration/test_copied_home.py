"""A copied home that runs twice is noticed: real processes."""

import shutil

from swarmnode.demo.launcher import LocalNode, LocalSwarm
from swarmnode.demo.report import until
from tests.integration.swarm_lab import swarm_of


def copy_of(swarm: LocalSwarm, node: LocalNode) -> LocalNode:
    """The same home under another name, as `cp -a` makes one, on a port of its own."""
    copy = swarm.add("copy")
    shutil.rmtree(copy.home)
    shutil.copytree(node.home, copy.home, ignore=shutil.ignore_patterns("run", "node.log"))
    return copy


def names_the_copy(node: LocalNode) -> bool:
    status = node.client.get("/api/v1/status")
    lines = [*status["warnings"], *status["join_failures"]]
    return any("copied home" in line for line in lines)


def test_a_copied_home_that_runs_twice_is_named_by_the_others_and_by_itself() -> None:
    with swarm_of(3) as swarm:
        alice, bob, carol = swarm.nodes
        swarm.kill_daemon(bob)
        copy = copy_of(swarm, bob)
        for one in (bob, copy):
            swarm.start(one)
        until(
            lambda: any(names_the_copy(one) for one in (alice, carol)),
            within_s=60,
            what="the others name the copy",
        )
        until(
            lambda: any(names_the_copy(one) for one in (bob, copy)),
            within_s=60,
            what="one of the two names the other",
        )
