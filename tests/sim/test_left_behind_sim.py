"""What guardians tell of the tasks of a machine that is gone, and to whom."""

from dataclasses import dataclass

import pytest
import trio
from msgspec.structs import replace

from swarmnode.market.buyer import left_behind
from swarmnode.market.buyer.left_behind import LeftBehind
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.tasks.keys import task_id_of
from testnet.sim.seeded import simulated
from testnet.sim.world import World
from tests.sim.test_my_machines_sim import running_task


def kept_of(world: World, name: str) -> GuardRecord:
    """The one task of a machine, as one of its guardians has it."""
    owner = world[name].peer
    for other in world.machines.values():
        for one in other.up.market._buyer._core.guarded_records():
            if one.owner == owner != other.peer:
                return one
    raise AssertionError(f"nobody keeps anything for {name}")


@dataclass(frozen=True)
class Telling:
    """What a guardian tells instead of what it keeps."""

    records: list[GuardRecord]

    def guarded_records(self) -> list[GuardRecord]:
        return self.records


def tells(world: World, name: str, records: list[GuardRecord]) -> None:
    part: LeftBehind = world[name].up.market._buyer.left_behind
    part._core = Telling(records)


@simulated
async def test_a_machine_of_the_person_is_told_every_task_with_its_key() -> None:
    world = World(1, ["m0", "m1", "m2", "m3"], labs=1)
    async with world.running():
        tasks = {await running_task(world, "m0") for _ in range(3)}
        await world.kill("m0")
        found = await world["m3"].up.market.kept_for(world["m0"].peer)
        assert {one.task for one in found} == tasks
        signer = world["m3"].up.edges.signer
        assert all(task_id_of(signer.from_seed(one.key).peer_id) == one.task for one in found)


@simulated
async def test_a_machine_of_another_person_is_told_nothing() -> None:
    world = World(1, ["m0", "m1", "m2", "m3"], labs=4)
    async with world.running():
        await running_task(world, "m0")
        assert await world["m3"].up.market.kept_for(world["m0"].peer) == []


@simulated
async def test_many_tasks_are_told_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(1, ["m0", "m1", "m2", "m3"], labs=1)
    monkeypatch.setattr(left_behind, "KEPT_TOLD_BYTES", 1500)
    async with world.running():
        tasks = {await running_task(world, "m0") for _ in range(5)}
        await world.kill("m0")
        found = await world["m3"].up.market.kept_for(world["m0"].peer)
        assert {one.task for one in found} == tasks


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
        moved = replace(others, owner=lost)
        keyless = replace(real, kept=replace(real.kept, key=b"k" * 32))
        for name in ("m1", "m2", "m3"):
            tells(mine, name, [unsigned, moved, keyless])
        assert await asks.kept_for(lost) == []
        tells(mine, "m1", [real])
        assert [one.task for one in await asks.kept_for(lost)] == [real.task]


@simulated
async def test_of_two_guardians_the_one_that_knows_more_is_believed() -> None:
    world = World(3, ["m0", "m1", "m2", "m3"], labs=1)
    async with world.running():
        await running_task(world, "m0")
        lost = world["m0"].peer
        real = kept_of(world, "m0")
        await world.kill("m0")
        newer = replace(real, seq=real.seq + 1, kept=replace(real.kept, retries_used=1))
        tells(world, "m1", [real])
        tells(world, "m2", [newer])
        tells(world, "m3", [])
        (found,) = await world["m3"].up.market.kept_for(lost)
        assert found.retries_used == 1


@simulated
async def test_a_member_that_does_not_answer_holds_up_nobody_for_long() -> None:
    world = World(4, ["m0", "m1", "m2", "m3"], labs=1)
    async with world.running():
        task = await running_task(world, "m0")
        await world.kill("m0")
        await world.kill("m1")
        with trio.fail_after(60):
            found = await world["m3"].up.market.kept_for(world["m0"].peer)
        assert [one.task for one in found] == [task]
