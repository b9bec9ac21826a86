"""What guardians tell of the tasks of a machine that is gone, and to whom."""

from dataclasses import dataclass

import pytest
import trio
from msgspec.structs import replace

from swarmnode.market.buyer.own_machines import elsewhere, left_behind
from swarmnode.market.buyer.own_machines.left_behind import LeftBehind
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.tasks.keys import task_id_of
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.spec import TaskSpec
from testnet.sim.clock import START_MS
from testnet.sim.seeded import simulated
from testnet.sim.world import World
from tests.my_machines_lab import SHAPE, running_task

FAR_MS = START_MS + 86_400_000


def kept_of(world: World, name: str) -> GuardRecord:
    """The one task of a machine, as one of its guardians has it."""
    submitter = world[name].peer
    for other in world.machines.values():
        for one in other.up.market.buyer._core.custody.records():
            if one.submitter == submitter != other.peer:
                return one
    raise AssertionError(f"nobody keeps anything for {name}")


@dataclass(frozen=True)
class Telling:
    """What a guardian tells instead of what it keeps."""

    told: list[GuardRecord]

    def records(self) -> list[GuardRecord]:
        return self.told


class Slowly:
    """What a member waits for before it answers."""

    async def wait(self) -> None:
        await trio.sleep(elsewhere.ANSWER_S - 0.1)


def tells(world: World, name: str, records: list[GuardRecord]) -> None:
    part: LeftBehind = world[name].up.market.own_machines.left_behind
    part._custody = Telling(records)


@simulated
async def test_a_machine_of_the_person_is_told_every_task_with_its_key() -> None:
    world = World(1, ["m0", "m1", "m2", "m3"], labs=1)
    async with world.running():
        tasks = {await running_task(world, "m0") for _ in range(3)}
        await world.kill("m0")
        found = await world["m3"].up.market.own_machines.left_behind.kept_for(
            world["m0"].peer, FAR_MS
        )
        assert {one.task for one in found} == tasks
        signer = world["m3"].up.edges.signer
        assert all(task_id_of(signer.from_seed(one.key).peer_id) == one.task for one in found)


@simulated
async def test_a_machine_of_another_person_is_told_nothing() -> None:
    world = World(1, ["m0", "m1", "m2", "m3"], labs=4)
    async with world.running():
        await running_task(world, "m0")
        assert kept_of(world, "m0").rights
        assert (
            await world["m3"].up.market.own_machines.left_behind.kept_for(world["m0"].peer, FAR_MS)
            == []
        )


@simulated
async def test_more_tasks_than_are_told_at_once_are_all_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(left_behind, "KEPT_TOLD_MAX", 20)
    world = World(1, ["m0", "m1", "m2", "m3"], labs=1)
    async with world.running():
        await running_task(world, "m0")
        market, tasks = world["m0"].up.market, set[str]()
        for _ in range(50):
            tasks.add(await market.buyer.submit(TaskSpec(("sleep", "1000"), shape=SHAPE)))
        await trio.sleep(30)
        await world.kill("m0")
        found = await world["m3"].up.market.own_machines.left_behind.kept_for(
            world["m0"].peer, FAR_MS
        )
        assert tasks < {one.task for one in found}
        assert len(found) == 51


@simulated
async def test_a_person_who_comes_back_after_a_month_is_told_of_what_ended_before_it() -> None:
    """The rights to put for their tasks have ended: whose the tasks are has not."""
    world = World(1, ["m0", "m1", "m2", "m3", "m4"], labs=1)
    async with world.running():
        world["m0"].up.market.buyer.keep_copies(lambda: None)  # and none is made
        task = await running_task(world, "m0", ("sleep", "60"))
        await world["m0"].up.market.buyer.wait(task)
        await trio.sleep(5)
        await world.power_cut("m0")
        await trio.sleep(30)
        for machine in world.machines.values():
            machine.wall.step(30 * 86_400_000)
        found = await world["m4"].up.market.own_machines.left_behind.kept_for(
            world["m0"].peer, FAR_MS
        )
        assert [(one.task, one.state) for one in found] == [(task, TaskState.DONE)]


@simulated
async def test_what_was_submitted_after_the_machine_was_taken_over_stays_its_own() -> None:
    world = World(1, ["m0", "m1", "m2", "m3"], labs=1)
    async with world.running():
        before = await running_task(world, "m0")
        taken_over_ms = world["m3"].up.edges.wall_ms()
        hand_over = world["m0"].up.market.own_machines.hand_over
        await hand_over.gone_on(taken_over_ms)  # it has heard of that
        await running_task(world, "m0")
        found = await world["m3"].up.market.own_machines.left_behind.kept_for(
            world["m0"].peer, taken_over_ms
        )
        assert [one.task for one in found] == [before]


@simulated
async def test_members_that_contradict_each_other_about_a_task_bring_it_to_nobody() -> None:
    world = World(1, ["m0", "m1", "m2", "m3"], labs=1)
    async with world.running():
        await running_task(world, "m0")
        real = kept_of(world, "m0")
        await world.kill("m0")
        other = replace(real.task_record, spec=replace(real.task_record.spec, run=("steal",)))
        tells(world, "m1", [real])
        tells(world, "m2", [replace(real, seq=real.seq + 9, task_record=other)])
        tells(world, "m3", [])
        assert (
            await world["m3"].up.market.own_machines.left_behind.kept_for(world["m0"].peer, FAR_MS)
            == []
        )


@simulated
async def test_one_that_tells_slowly_holds_up_nobody_for_longer_than_a_round() -> None:
    world = World(1, ["m0", "m1", "m2", "m3"], labs=1)
    async with world.running():
        for _ in range(2):
            await running_task(world, "m0")
        await world.kill("m0")
        part: LeftBehind = world["m1"].up.market.own_machines.left_behind
        part._begun = Slowly()  # type: ignore[assignment]
        asked = trio.current_time()
        found = await world["m3"].up.market.own_machines.left_behind.kept_for(
            world["m0"].peer, FAR_MS
        )
        assert len(found) == 2
        assert trio.current_time() - asked <= left_behind.LISTEN_S


@simulated
async def test_what_a_guardian_makes_up_is_not_believed() -> None:
    """Neither a task of its own, nor one of another machine, nor one whose key it has not."""
    mine = World(2, ["m0", "m1", "m2", "m3"], labs=1)
    async with mine.running():
        await running_task(mine, "m0")
        await running_task(mine, "m1")
        lost, asks = mine["m0"].peer, mine["m3"].up.market
        real, others = kept_of(mine, "m0"), kept_of(mine, "m1")
        await mine.kill("m0")
        unsigned = replace(real, rights=())
        moved = replace(
            others,
            task_record=replace(others.task_record, key=real.task_record.key),
            submitter=lost,
        )
        keyless = replace(real, task_record=replace(real.task_record, key=b"k" * 32))
        for lie in (unsigned, moved, keyless):
            for name in ("m1", "m2", "m3"):
                tells(mine, name, [lie])
            assert await asks.own_machines.left_behind.kept_for(lost, FAR_MS) == []
        tells(mine, "m1", [real])
        assert [one.task for one in await asks.own_machines.left_behind.kept_for(lost, FAR_MS)] == [
            real.task
        ]


@simulated
async def test_of_two_guardians_the_one_that_knows_more_is_believed() -> None:
    world = World(3, ["m0", "m1", "m2", "m3"], labs=1)
    async with world.running():
        await running_task(world, "m0")
        lost = world["m0"].peer
        real = kept_of(world, "m0")
        await world.kill("m0")
        newer = replace(
            real, seq=real.seq + 1, task_record=replace(real.task_record, retries_used=1)
        )
        tells(world, "m1", [real])
        tells(world, "m2", [newer])
        tells(world, "m3", [])
        (found,) = await world["m3"].up.market.own_machines.left_behind.kept_for(lost, FAR_MS)
        assert found.retries_used == 1


@simulated
async def test_a_member_that_does_not_answer_holds_up_nobody_for_long() -> None:
    world = World(4, ["m0", "m1", "m2", "m3"], labs=1)
    async with world.running():
        task = await running_task(world, "m0")
        await world.kill("m0")
        await world.kill("m1")
        with trio.fail_after(60):
            found = await world["m3"].up.market.own_machines.left_behind.kept_for(
                world["m0"].peer, FAR_MS
            )
        assert [one.task for one in found] == [task]
