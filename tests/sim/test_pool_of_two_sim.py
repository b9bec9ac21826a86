"""What must not run twice, in a pool of two: a silent machine is waited for, not replaced."""

import pytest

from p2p.membership.view import Liveness
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.spec import Repeatability
from tests.sim.market_world import MarketWorld, steps_task
from tests.sim.test_guardians_sim import names


def once_on_node_1(world: MarketWorld, steps: int, timeout_s: int) -> TaskId:
    """Submitted at node-0, it runs on node-1, which is its guardian as well."""
    world.run(1)
    spec = steps_task(
        steps, avoid=("node-0", "node-2"), effects=Repeatability.ONCE, timeout_ms=timeout_s * 1000
    )
    task = world.submit("node-0", spec)
    world.run(15)
    assert world.jobs.started[task] == 1
    return task


def test_in_a_pool_of_two_a_silent_machine_is_waited_for_until_its_timeout_is_over() -> None:
    world = MarketWorld(2, names(2))
    task = once_on_node_1(world, 250, timeout_s=300)
    world.kill("node-1", power=True)
    ledger = world.machines["node-0"].buyer.ledger
    world.run(250)
    assert ledger.get(task).state is TaskState.RUNNING
    assert "may still run it" in ledger.get(task).why
    world.run(300)
    record = ledger.get(task)
    assert record.state is TaskState.FAILED
    assert "must not run twice" in record.why
    assert world.jobs.started[task] == 1


def test_a_machine_that_is_back_is_believed_and_nothing_is_undecided_any_more() -> None:
    world = MarketWorld(3, names(2))
    task = once_on_node_1(world, 250, timeout_s=1000)
    world.cut("node-0", "node-1")
    world.run(150)
    ledger = world.machines["node-0"].buyer.ledger
    assert "may still run it" in ledger.get(task).why
    world.heal()
    world.run(60)
    assert (ledger.get(task).state, ledger.get(task).why) == (TaskState.RUNNING, "")
    world.run(100)
    assert ledger.get(task).state is TaskState.DONE


def test_a_person_ends_the_wait_by_cancelling() -> None:
    world = MarketWorld(4, names(2))
    task = once_on_node_1(world, 250, timeout_s=1000)
    world.kill("node-1", power=True)
    world.run(150)
    world.cancel("node-0", task)
    assert world.machines["node-0"].buyer.ledger.get(task).state is TaskState.CANCELLED


@pytest.mark.parametrize("seed", range(3))
def test_a_machine_that_joins_a_cut_pool_of_two_lets_nobody_judge_what_still_runs(
    seed: int,
) -> None:
    """The world sees to it that nothing is reported failed that runs."""
    world = MarketWorld(seed, names(3))
    world.run(1)
    world.kill("node-2", power=True)
    world.run(6)
    task = once_on_node_1(world, 600, timeout_s=700)
    world.cut("node-0", "node-1")
    world.cut("node-2", "node-1")
    world.hold_for("node-1", Liveness.DEAD)
    world.start("node-2")
    world.run(400)
    record = world.machines["node-0"].buyer.ledger.get(task)
    assert record.state is TaskState.RUNNING
    world.heal()
    world.hold_for("node-1", Liveness.ALIVE)
    world.run(500)
    assert world.machines["node-0"].buyer.ledger.get(task).state is TaskState.DONE
    assert world.jobs.started[task] == 1


def test_one_that_waits_goes_to_a_machine_that_joins_when_the_other_of_two_is_gone() -> None:
    world = MarketWorld(5, names(3))
    world.run(1)
    world.kill("node-2", power=True)
    world.run(6)
    spec = steps_task(20, require=("node-2",), effects=Repeatability.ONCE)
    task = world.submit("node-0", spec)
    world.run(15)
    world.kill("node-1", power=True)
    world.run(60)
    world.start("node-2")
    world.run(120)
    assert world.machines["node-0"].buyer.ledger.get(task).state is TaskState.DONE
    assert world.jobs.started[task] == 1
