from collections import Counter

import pytest

from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec import Repeatability
from tests.sim.market_world import MarketWorld, Weather, steps_task

NAMES = [f"node-{number}" for number in range(6)]
LEASE_AND_GRACE_S = 75.0
ROUGH = Weather(loss=0.05, doubled=0.05, delay_max_s=0.15)


def record_of(world: MarketWorld, name: str, task: TaskId) -> TaskRecord:
    return world.machines[name].buyer.ledger.get(task)


def test_tasks_of_several_buyers_share_the_machines_and_all_end() -> None:
    world = MarketWorld(1, NAMES)
    world.run(1)
    tasks = [(name, world.submit(name, steps_task(3))) for name in NAMES for _ in range(6)]
    world.run_until_all_ended(120)
    world.run(60)
    for name, task in tasks:
        record = record_of(world, name, task)
        assert record.state is TaskState.DONE
        assert len(record.attempts) == 1
    # Twelve run at a time, three seconds each, and more than twice as many wait.
    assert sum(world.jobs.started.values()) == 36
    world.assert_nothing_is_left()


def test_a_free_swarm_places_a_task_within_a_window() -> None:
    world = MarketWorld(2, NAMES)
    world.run(1)
    began_s = world.now_s
    task = world.submit("node-0", steps_task(1))
    world.run(0.3)
    record = record_of(world, "node-0", task)
    assert record.state in (TaskState.AWARDED, TaskState.RUNNING), (record, began_s)


def test_waiting_tasks_start_soon_after_room_becomes_free() -> None:
    world = MarketWorld(3, NAMES[:2])
    world.run(1)
    for _ in range(16):
        world.submit("node-0", steps_task(5))
    began_s = world.now_s
    world.run_until_all_ended(120)
    # Four waves of five seconds; the rest is waiting for offers, not for back-off.
    assert world.now_s - began_s < 4 * 5 + 6
    world.run(60)
    world.assert_nothing_is_left()


def test_a_task_moves_when_the_owner_wants_the_machine() -> None:
    world = MarketWorld(4, NAMES)
    world.run(1)
    task = world.submit("node-0", steps_task(20))
    world.run(8)
    provider = record_of(world, "node-0", task).provider
    world.pause(provider)
    world.run_until_all_ended(60)
    record = record_of(world, "node-0", task)
    assert record.state is TaskState.DONE
    assert [one.ended_as for one in record.attempts] == ["stopped", "done"]
    assert record.attempts[1].restored_step > 4
    assert record.attempts[1].provider != provider
    assert world.jobs.steps_done[task] <= 22


def test_a_lost_machine_costs_no_more_than_a_step_and_no_retry() -> None:
    world = MarketWorld(5, NAMES)
    world.run(1)
    task = world.submit("node-0", steps_task(20, avoid=("node-0",)))
    world.run(8)
    world.kill(record_of(world, "node-0", task).provider, power=True)
    world.run(30)
    record = record_of(world, "node-0", task)
    assert record.state is TaskState.DONE
    assert record.retries_used == 0
    assert world.jobs.steps_done[task] <= 22


def test_a_buyer_that_restarts_finds_its_running_tasks() -> None:
    world = MarketWorld(6, NAMES)
    world.run(1)
    task = world.submit("node-0", steps_task(30, avoid=("node-0",)))
    world.run(5)
    world.kill("node-0")
    world.run(2)
    world.start("node-0")
    world.run_until_all_ended(60)
    record = record_of(world, "node-0", task)
    assert record.state is TaskState.DONE
    assert len(record.attempts) == 1
    assert world.jobs.started[task] == 1


def test_a_provider_that_restarts_quickly_keeps_its_job() -> None:
    world = MarketWorld(7, NAMES)
    world.run(1)
    task = world.submit("node-0", steps_task(30, avoid=("node-0",)))
    world.run(5)
    provider = record_of(world, "node-0", task).provider
    world.kill(provider)
    world.run(2)
    world.start(provider)
    world.run_until_all_ended(60)
    assert len(record_of(world, "node-0", task).attempts) == 1
    assert world.counts["reattached"] == 1


def test_buyer_and_provider_on_one_machine_survive_its_restart() -> None:
    world = MarketWorld(8, NAMES[:1])
    world.run(1)
    task = world.submit("node-0", steps_task(10))
    world.run(5)
    world.kill("node-0")
    world.run(3)
    world.start("node-0")
    world.run_until_all_ended(60)
    record = record_of(world, "node-0", task)
    assert (record.state, len(record.attempts)) == (TaskState.DONE, 1)


def storm(seed: int, weather: Weather = ROUGH) -> tuple[MarketWorld, list[tuple[str, TaskId]]]:
    """Forty submissions under faults of every kind, then calm until all have ended."""
    world = MarketWorld(seed, NAMES, weather)
    world.run(1)
    dice = world.rng
    made: list[tuple[str, TaskId]] = []
    down: list[str] = []
    paused: list[str] = []
    for _ in range(40):
        up = [name for name in NAMES if name not in down]
        for name in dice.sample(up, 1):
            effects = Repeatability.ONCE if dice.random() < 0.2 else Repeatability.IDEMPOTENT
            spec = steps_task(dice.randrange(1, 15), effects=effects)
            made.append((name, world.submit(name, spec)))
        fault = dice.random()
        if fault < 0.15 and len(down) < 2:
            down.append(dice.choice(up))
            world.kill(down[-1], power=fault < 0.07)
        elif fault < 0.35 and down:
            world.start(down.pop(0))
        elif fault < 0.45 and len(paused) < 2:
            paused.append(dice.choice(up))
            world.pause(paused[-1])
        elif fault < 0.6 and paused and paused[0] not in down:
            world.resume(paused.pop(0))
        elif fault < 0.7:
            world.cut(*dice.sample(NAMES, 2))
        elif fault < 0.85:
            world.heal()
        world.run(dice.uniform(0.1, 6))
    world.heal()
    for name in down:
        world.start(name)
    for name in paused:
        world.resume(name)
    world.run_until_all_ended(300)
    world.run(700)
    return world, made


@pytest.mark.parametrize("seed", range(12))
def test_every_task_ends_once_whatever_happens_to_messages_and_machines(seed: int) -> None:
    world, made = storm(seed)
    for name, task in made:
        record = record_of(world, name, task)
        if record.spec.effects is Repeatability.ONCE:
            assert world.jobs.started[task] <= 1, record
            assert record.state is not TaskState.DONE or world.jobs.started[task] == 1
        else:
            assert record.state is TaskState.DONE, record
    world.assert_nothing_is_left()
    assert world.jobs.overlap_s() <= LEASE_AND_GRACE_S


def test_a_job_whose_node_stays_dead_ends_with_its_lease() -> None:
    world = MarketWorld(10, NAMES)
    world.run(1)
    task = world.submit("node-0", steps_task(500, avoid=("node-0",)))
    world.run(5)
    world.kill(record_of(world, "node-0", task).provider)
    world.run(100)
    first, second = world.jobs.ran[task]
    assert first.ended_s - second.began_s <= LEASE_AND_GRACE_S
    assert world.counts["leases ended"] == 1


def test_a_node_that_was_away_for_an_hour_starts_nothing_that_was_given_up() -> None:
    world = MarketWorld(11, NAMES)
    world.run(1)
    spec = steps_task(500, avoid=("node-0",), effects=Repeatability.ONCE)
    task = world.submit("node-0", spec)
    while record_of(world, "node-0", task).state is not TaskState.RUNNING:
        world.run(0.01)  # accepted, and not started yet
    provider = record_of(world, "node-0", task).provider
    world.kill(provider)
    world.run(3600)
    assert record_of(world, "node-0", task).state is TaskState.FAILED
    world.start(provider)
    world.run(100)
    assert world.jobs.started[task] == 0


def test_the_storms_really_do_what_they_are_for() -> None:
    counts: Counter[str] = Counter()
    for seed in range(3):
        world, _ = storm(seed, Weather(loss=0.25, doubled=0.2, delay_max_s=0.3))
        world.assert_nothing_is_left()
        counts += world.counts
    for what in ("restored", "reattached", "Query", "PreemptNotice", "CancelJob"):
        assert counts[what] > 0, what


def test_one_seed_gives_one_trace() -> None:
    traces = []
    for _ in range(2):
        world = MarketWorld(9, NAMES, ROUGH)
        world.run(1)
        for name in NAMES:
            world.submit(name, steps_task(4))
        world.run(3)
        world.kill("node-3")
        world.run(30)
        traces.append(world.trace)
    assert traces[0] == traces[1]
