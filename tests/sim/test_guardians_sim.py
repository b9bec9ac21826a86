"""A submitter goes away, for a while or for good, and its tasks go on."""

import random

import pytest

from swarmnode.market.guardians import homing
from swarmnode.market.guardians.events import EndsCopied
from swarmnode.market.guardians.kept import Post
from swarmnode.market.guardians.shelf import tasks as shelf_module
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TASK_ENDS, TaskState
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec import Repeatability
from tests.sim.market_world import MarketWorld, Weather, steps_task

LEASE_AND_GRACE_S = 75.0
ROUGH = Weather(loss=0.05, doubled=0.05, delay_max_s=0.15)


def names(count: int) -> list[str]:
    return [f"node-{number}" for number in range(count)]


def best_known(world: MarketWorld, task: TaskId) -> TaskRecord:
    """The task as the keeper with the newest record has it."""
    found = [
        record
        for machine in world.machines.values()
        if machine.is_up and (record := machine.buyer.custody.find(task)) is not None
    ]
    assert found, "nobody keeps it"
    return max(found, key=lambda record: record.version).task_record


def nobody_keeps(world: MarketWorld, task: TaskId) -> bool:
    return all(m.buyer.custody.find(task) is None for m in world.machines.values() if m.is_up)


def actors(world: MarketWorld, task: TaskId) -> list[str]:
    return [
        name
        for name, machine in world.machines.items()
        if machine.is_up and machine.buyer.custody.post_of(task) is Post.ACTS
    ]


def run_until_kept_ended(world: MarketWorld, tasks: list[TaskId], within_s: float) -> None:
    until_s = world.now_s + within_s
    while not all(best_known(world, task).state in TASK_ENDS for task in tasks):
        states = {task: best_known(world, task) for task in tasks}
        assert world.now_s < until_s, states
        world.run(5.0)


@pytest.mark.parametrize("count", [2, 3, 5, 9])
@pytest.mark.parametrize("seed", range(3))
def test_tasks_go_on_when_their_submitter_is_gone_for_good(count: int, seed: int) -> None:
    world = MarketWorld(seed, names(count), ROUGH)
    world.run(1)
    tasks = [world.submit("node-0", steps_task(dice)) for dice in (30, 60, 90)]
    world.run(10 + world.rng.uniform(0, 15))
    world.kill("node-0", power=True)
    run_until_kept_ended(world, tasks, 600)
    assert all(best_known(world, task).state is TaskState.DONE for task in tasks)
    assert world.jobs.overlap_s() <= LEASE_AND_GRACE_S
    for task in tasks:
        assert len(actors(world, task)) == 1


@pytest.mark.parametrize("count", [2, 3, 5, 9])
def test_a_worker_goes_on_under_a_guardian_without_starting_again(count: int) -> None:
    world = MarketWorld(1, names(count))
    world.run(1)
    task = world.submit("node-0", steps_task(120, avoid=("node-0",)))
    world.run(20)
    world.kill("node-0", power=True)
    run_until_kept_ended(world, [task], 200)
    record = best_known(world, task)
    assert record.state is TaskState.DONE
    assert world.jobs.started[task] == 1
    assert len(record.attempts) == 1


@pytest.mark.parametrize("seed", range(4))
def test_a_submitter_that_was_away_for_an_hour_finds_everything(seed: int) -> None:
    world = MarketWorld(seed, names(5))
    world.run(1)
    tasks = [world.submit("node-0", steps_task(n, avoid=("node-0",))) for n in (30, 60, 4000)]
    world.run(20)
    world.kill("node-0")
    world.run(3600)
    world.start("node-0")
    world.run(60)
    ledger = world.machines["node-0"].buyer.ledger
    assert [ledger.get(task).state for task in tasks[:2]] == [TaskState.DONE] * 2
    assert ledger.get(tasks[2]).state is TaskState.RUNNING
    assert all(world.jobs.started[task] == 1 for task in tasks)
    assert actors(world, tasks[2]) == ["node-0"]
    world.run_until_all_ended(1000)
    world.run(150)
    assert ledger.get(tasks[2]).state is TaskState.DONE
    for machine in world.machines.values():  # everybody has been relieved
        assert not any(machine.buyer.custody.find(task) for task in tasks), machine.peer


@pytest.mark.parametrize("count", [2, 3, 9])
def test_guardians_know_of_an_end_until_the_copy_of_the_keyring_has_it(count: int) -> None:
    """Were the machine lost that it came to, nobody else would."""
    world = MarketWorld(1, names(count))
    world.run(1)
    world.tell("node-0", EndsCopied(frozenset()))
    task = world.submit("node-0", steps_task(20, avoid=("node-0",)))
    world.run_until_all_ended(60)
    world.run(20)
    assert best_known(world, task).state is TaskState.DONE
    world.tell("node-0", EndsCopied(frozenset({task})))
    world.run(20)
    assert nobody_keeps(world, task)


def test_guardians_wait_a_day_for_a_copy_that_is_not_made() -> None:
    """Names cannot be written for minutes after machines died: nobody else knows of the end."""
    world = MarketWorld(1, names(4))
    world.run(1)
    world.tell("node-0", EndsCopied(frozenset()))
    task = world.submit("node-0", steps_task(20, avoid=("node-0",)))
    world.run_until_all_ended(60)
    world.run(1800)
    assert best_known(world, task).state is TaskState.DONE
    shelf = world.machines["node-0"].buyer._book.keeper._shelf
    shelf._overs[task] -= shelf.config.over_s
    world.run(30)
    assert nobody_keeps(world, task)


def test_they_remember_a_thousand_ends_of_one_submitter_the_oldest_go_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shelf_module, "GUARDED_OVER_MAX", 2)
    world = MarketWorld(1, names(4))
    world.run(1)
    world.tell("node-0", EndsCopied(frozenset()))
    tasks = []
    for _ in range(4):
        tasks.append(world.submit("node-0", steps_task(20, avoid=("node-0",))))
        world.run_until_all_ended(100)
    world.run(60)
    assert [nobody_keeps(world, task) for task in tasks] == [True, True, False, False]


def test_who_recovers_is_told_what_ended_after_the_copy_and_relieves_the_guardians() -> None:
    world = MarketWorld(1, names(6))
    world.run(1)
    world.kill("node-5", power=True)
    world.tell("node-0", EndsCopied(frozenset()))
    task = world.submit("node-0", steps_task(20, avoid=("node-0", "node-5")))
    world.run_until_all_ended(60, but=("node-5",))
    world.run(6)
    world.kill("node-0", power=True)
    world.run(30)
    world.start("node-5")
    world.run(5)
    world.recover("node-5", [best_known(world, task)], is_told=True)
    world.run(60)
    assert world.machines["node-5"].buyer.ledger.get(task).state is TaskState.DONE
    assert nobody_keeps(world, task)
    assert world.jobs.started[task] == 1


def test_more_tasks_than_are_asked_for_at_once_come_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homing, "SOUGHT_AT_ONCE", 16)
    world = MarketWorld(1, names(6))
    world.run(1)
    world.kill("node-5", power=True)
    nowhere = [world.submit("node-0", steps_task(10, avoid=tuple(names(6)))) for _ in range(50)]
    world.run(30)
    world.kill("node-0", power=True)
    world.run(30)
    world.start("node-5")
    world.run(5)
    told = [best_known(world, task) for task in nowhere]
    world.recover("node-5", told, is_told=True)
    world.run(120)
    assert {tuple(actors(world, task)) for task in nowhere} == {("node-5",)}


@pytest.mark.parametrize("count", [4, 6])
@pytest.mark.parametrize("seconds", [20, 400])
def test_a_guardian_that_misses_where_the_owner_is_hears_it_later(count: int, seconds: int) -> None:
    world = MarketWorld(2, names(count))
    spare = names(count)[-1]
    world.run(1)
    world.kill(spare, power=True)
    task = world.submit("node-0", steps_task(seconds, avoid=("node-0", spare)))
    world.run(15)
    kept = world.machines["node-0"].buyer.custody.find(task)
    assert kept is not None
    guardians = [peer for peer in kept.roster if peer != "node-0"]
    told = kept.task_record
    world.kill("node-0", power=True)
    world.kill(guardians[0])
    world.run(5)
    world.start(spare)
    world.run(5)
    world.recover(spare, [told], is_told=True)
    world.run(60)
    world.start(guardians[0])
    world.run(900)
    assert world.machines[spare].buyer.ledger.get(task).state is TaskState.DONE


@pytest.mark.parametrize("seconds", [30, 600])
def test_who_recovers_where_the_task_is_acted_for_has_it_for_its_own(seconds: int) -> None:
    """Also when it has ended there meanwhile."""
    world = MarketWorld(1, names(5))
    world.run(1)
    task = world.submit("node-0", steps_task(seconds, avoid=("node-0",)))
    world.run(20)
    world.kill("node-0", power=True)
    world.run(60)
    (acting,) = actors(world, task)
    world.recover(acting, [best_known(world, task)], is_told=True)
    world.run(20)
    record = world.machines[acting].buyer.ledger.get(task)
    assert record.submitter == ""
    world.run(700)
    assert world.machines[acting].buyer.ledger.get(task).state is TaskState.DONE
    assert nobody_keeps(world, task)
    assert world.jobs.started[task] == 1


@pytest.mark.parametrize("seed", range(4))
def test_guardians_that_die_one_after_another_are_replaced(seed: int) -> None:
    world = MarketWorld(seed, names(9), ROUGH)
    world.run(1)
    task = world.submit("node-0", steps_task(400, avoid=("node-0",)))
    world.run(20)
    world.kill("node-0", power=True)
    for _ in range(5):
        world.run(60)
        (acting,) = actors(world, task)
        world.kill(acting, power=True)
    run_until_kept_ended(world, [task], 1500)
    assert best_known(world, task).state is TaskState.DONE
    assert world.jobs.overlap_s() <= LEASE_AND_GRACE_S


@pytest.mark.parametrize("effects", list(Repeatability))
@pytest.mark.parametrize("seed", range(6))
def test_across_a_cut_two_attempts_overlap_by_lease_and_grace_at_most(
    effects: Repeatability, seed: int
) -> None:
    world = MarketWorld(seed, names(5), ROUGH)
    world.run(1)
    tasks = [world.submit("node-0", steps_task(n, effects=effects)) for n in (100, 200, 300)]
    world.run(15)
    dice = random.Random(seed)
    for _ in range(6):
        side = dice.sample(names(5), dice.choice([1, 2]))
        for left in side:
            for right in set(names(5)) - set(side):
                world.cut(left, right)
        world.run(dice.uniform(20, 200))
        world.heal()
        world.run(dice.uniform(5, 60))
    world.run_until_all_ended(2500)
    assert world.jobs.overlap_s() <= LEASE_AND_GRACE_S
    ledger = world.machines["node-0"].buyer.ledger
    for task in tasks:
        if effects is Repeatability.ONCE:
            assert world.jobs.started[task] <= 1
        else:
            assert ledger.get(task).state is TaskState.DONE


def test_a_cancelled_task_stops_though_its_submitter_was_away_in_between() -> None:
    world = MarketWorld(3, names(5))
    world.run(1)
    task = world.submit("node-0", steps_task(5000, avoid=("node-0",)))
    world.run(20)
    world.kill("node-0")
    world.run(120)
    world.start("node-0")
    world.cancel("node-0", task)
    world.run(60)
    world.assert_nothing_is_left()


@pytest.mark.parametrize("seed", range(3))
def test_a_recovered_machine_finds_who_kept_its_tasks_meanwhile(seed: int) -> None:
    world = MarketWorld(seed, names(6))
    world.run(1)
    world.kill("node-5", power=True)
    away = ("node-0", "node-5")
    tasks = [world.submit("node-0", steps_task(n, avoid=away)) for n in (60, 600)]
    world.run(20)
    snapshot = [world.machines["node-0"].buyer.ledger.get(task) for task in tasks]
    world.kill("node-0", power=True)
    world.run(120)
    world.start("node-5")
    world.run(5)
    world.recover("node-5", snapshot)
    world.run(60)
    ledger = world.machines["node-5"].buyer.ledger
    assert ledger.get(tasks[0]).state is TaskState.DONE
    assert ledger.get(tasks[1]).state is TaskState.RUNNING
    assert actors(world, tasks[1]) == ["node-5"]
    world.run(700)
    assert ledger.get(tasks[1]).state is TaskState.DONE
    assert all(world.jobs.started[task] == 1 for task in tasks)


def test_a_recovered_task_that_nobody_kept_goes_on_by_itself() -> None:
    world = MarketWorld(1, names(3))
    world.run(1)
    task = world.submit("node-0", steps_task(30, avoid=("node-0",)))
    world.run(1)
    snapshot = [world.machines["node-0"].buyer.ledger.get(task)]
    world.kill("node-0", power=True)
    world.run(150)
    world.recover("node-2", snapshot)
    world.run(200)
    assert world.machines["node-2"].buyer.ledger.get(task).state is TaskState.DONE


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("age_s", [0.0, 4.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_recovered_task_that_must_not_run_twice_is_not_failed_while_its_guardians_run_it(
    seed: int, age_s: float, restarts: bool
) -> None:
    """The copy of it is older than its award, or not. The world sees to it that none that is
    failed runs."""
    world = MarketWorld(seed, names(6))
    world.run(1)
    world.kill("node-5", power=True)
    away = ("node-0", "node-5")
    task = world.submit("node-0", steps_task(400, avoid=away, effects=Repeatability.ONCE))
    world.run(age_s)
    snapshot = [world.machines["node-0"].buyer.ledger.get(task)]
    world.run(20)
    world.kill("node-0", power=True)
    world.run(60)
    world.start("node-5")
    world.run(5)
    world.recover("node-5", snapshot)
    if restarts:
        world.run(0.1)
        world.kill("node-5")
        world.run(1)
        world.start("node-5")
    world.run(60)
    ledger = world.machines["node-5"].buyer.ledger
    assert ledger.get(task).state is TaskState.RUNNING
    world.run(600)
    assert ledger.get(task).state is TaskState.DONE
    assert world.jobs.started[task] == 1


@pytest.mark.parametrize("restarts", [False, True])
def test_one_that_nobody_kept_is_failed_when_it_can_run_no_more(restarts: bool) -> None:
    world = MarketWorld(1, names(3))
    world.run(1)
    task = world.submit("node-0", steps_task(5000, avoid=("node-0",), effects=Repeatability.ONCE))
    snapshot = [world.machines["node-0"].buyer.ledger.get(task)]
    world.run(1)
    assert world.jobs.started[task] == 1
    world.kill("node-0", power=True)
    world.recover("node-2", snapshot)
    world.run(30)
    if restarts:
        world.kill("node-2")
        world.run(1)
        world.start("node-2")
    assert world.machines["node-2"].buyer.ledger.get(task).state is not TaskState.FAILED
    world.run(200)
    record = world.machines["node-2"].buyer.ledger.get(task)
    assert record.state is TaskState.FAILED
    assert "none of its guardians answered" in record.why
    assert world.jobs.started[task] == 1
