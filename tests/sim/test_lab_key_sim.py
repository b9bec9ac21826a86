"""What the key of a lab removes is gone, stays so, and its owner is told by whom and why."""

import logging
from collections.abc import Callable

import pytest
import trio

from p2p.ids import PeerId
from storage.errors import ObjectUnknownError
from storage.facade import ObjectEntry, ObjectHealth, PutReceipt
from storage.objects.standing import ObjectTrouble
from swarmnode.errors import NotAllowedError, TaskUnknownError
from swarmnode.tasks.lifecycle import TaskState
from testnet.sim.seeded import simulated, until_slowly
from testnet.sim.signer import KeyedHashSigner
from testnet.sim.world import World
from tests.my_machines_lab import nothing_runs, put, running_task, used

WHY = "it was put by mistake"


def key_of(world: World, lab: str) -> KeyedHashSigner:
    return KeyedHashSigner(PeerId(lab), world.seed)


async def removed(world: World, receipt: PutReceipt, *, at: str = "n0", by: str = "lab-0") -> bool:
    """With the lab's key, on a machine that need not be of that lab."""
    objects, key = world[at].up.storage.objects, key_of(world, by)
    return await objects.remove(receipt.cap.address, lab_key=key, reason=WHY) is not None


def only(world: World, name: str) -> ObjectEntry:
    (entry,) = world[name].up.storage.objects.entries()
    return entry


def is_marked(world: World, name: str) -> Callable[[], bool]:
    return lambda: only(world, name).removed_ms > 0


@simulated
async def test_it_is_gone_everywhere_and_its_owner_is_told() -> None:
    world = World(1, ["m0", "n0", "m1", "n1"], labs=2)
    async with world.running():
        receipt, told = await put(world, "m0"), list[ObjectTrouble]()
        node = world["m0"].up
        node.storage.objects.own.on_change(told.append)
        assert await removed(world, receipt)
        assert used(world) == 0
        entry = only(world, "m0")
        assert (entry.removed_ms > 0, entry.removed_why) == (True, WHY)
        assert [(one.health, one.why) for one in told] == [(ObjectHealth.REMOVED, WHY)]
        (words,) = [
            one for one in node.face.status().warnings if "the key of the lab removed" in one
        ]
        assert WHY in words
        for ask in (node.storage.objects.stat(entry.cap.address), _read(world, receipt)):
            with pytest.raises(ObjectUnknownError, match=WHY):
                await ask
        await node.storage.objects.renew()
        await trio.sleep(60)
        assert used(world) == 0
        assert len(told) == 1
        assert await node.storage.objects.forget(entry.cap.address) is not None
        assert not node.storage.objects.entries()
        assert not node.face.status().warnings


@simulated
async def test_who_removes_it_again_or_holds_its_capability_hears_that_it_was_removed() -> None:
    world = World(7, ["m0", "n0", "m1", "n1", "m2"], labs=2)
    async with world.running():
        receipt, kept = await put(world, "m0"), await put(world, "m0")
        reader = world["n1"].up.storage.objects
        for one in (receipt, kept):
            assert [part async for part in reader.get(one.cap)]
        assert await removed(world, receipt)
        assert await world["m0"].up.storage.objects.forget(kept.cap.address) is not None
        await trio.sleep(30)
        for at in ("n0", "m1"):
            with pytest.raises(ObjectUnknownError, match=rf"lab removed it on .*{WHY}"):
                await removed(world, receipt, at=at)
        by_owner = f"its owner removed it, by machine {world['m0'].peer}"
        for name in ("n1", "m2"):
            objects = world[name].up.storage.objects
            for one, words in ((receipt, WHY), (kept, by_owner)):
                with pytest.raises(ObjectUnknownError, match=words):
                    await objects.stat(one.cap.address)
                if name == "m2":
                    with pytest.raises(ObjectUnknownError, match=words):
                        await anext(aiter(objects.get(one.cap)))


async def _read(world: World, receipt: PutReceipt) -> bytes:
    return b"".join([part async for part in world["m0"].up.storage.objects.get(receipt.cap)])


def test_each_holder_logs_it_once(caplog: pytest.LogCaptureFixture) -> None:
    @simulated
    async def logged() -> None:
        world = World(2, ["m0", "n0", "m1", "n1"], labs=2)
        async with world.running():
            receipt = await put(world, "m0")
            kept = sum(one.shards.used_bytes() > 0 for one in world.machines.values())
            with caplog.at_level(logging.WARNING, "swarm.storage"):
                assert await removed(world, receipt)
                await trio.sleep(60)
            lines = [one.getMessage() for one in caplog.records if WHY in one.getMessage()]
            assert len(lines) >= kept > 1
            assert len(lines) <= len(world.machines)
            assert all("lab-0" in line and "member-lab-0" in line for line in lines)

    logged()


def test_a_holder_that_was_away_gives_it_up_though_the_remover_is_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @simulated
    async def away() -> None:
        world = World(3, ["m0", "n0", "m1", "n1", "m2"], labs=2)
        async with world.running():
            receipt = await put(world, "m0")
            holder = next(
                name
                for name, one in world.machines.items()
                if one.peer in receipt.holders and name not in ("m0", "n0")
            )
            await world.kill(holder)
            assert await removed(world, receipt)
            await trio.sleep(10)
            await world.power_cut("n0")
            assert used(world) > 0
            with caplog.at_level(logging.WARNING, "swarm.storage"):
                await world.start(holder)
                left = [one for name, one in world.machines.items() if name != "n0"]
                await until_slowly(lambda: not any(one.shards.used_bytes() for one in left), 120)
            assert WHY in caplog.text
            await trio.sleep(90)
            assert not any(one.shards.used_bytes() for one in left)

    away()


@simulated
async def test_its_owner_learns_of_it_on_its_return() -> None:
    world = World(4, ["m0", "n0", "m1", "n1", "m2"], labs=2)
    async with world.running():
        receipt = await put(world, "m0")
        await world.kill("m0")
        await trio.sleep(20)
        assert await removed(world, receipt)
        await trio.sleep(10)
        await world.power_cut("n0")
        await world.start("m0")
        await until_slowly(is_marked(world, "m0"), 120)
        assert only(world, "m0").removed_why == WHY
        assert not world["m0"].up.storage.objects.own.troubles
        await world.kill("m0")
        await world.start("m0")
        assert is_marked(world, "m0")()


@simulated
async def test_the_key_of_another_lab_removes_nothing() -> None:
    world = World(5, ["m0", "n0", "m1", "n1"], labs=2)
    async with world.running():
        receipt = await put(world, "m0")
        before = used(world)
        assert not await removed(world, receipt, by="lab-1")
        await trio.sleep(60)
        assert used(world) == before
        assert only(world, "m0").removed_ms == 0


@simulated
async def test_removing_it_twice_and_with_its_owner_at_once_is_one_removal() -> None:
    world = World(6, ["m0", "n0", "m1", "n1"], labs=2)
    async with world.running():
        receipt = await put(world, "m0")
        found: list[object] = []

        async def by_lab(at: str) -> None:
            try:
                found.append(await removed(world, receipt, at=at))
            except ObjectUnknownError:
                found.append("unknown")

        async def by_owner() -> None:
            found.append(
                await world["m0"].up.storage.objects.forget(receipt.cap.address) is not None
            )

        async with trio.open_nursery() as nursery:
            nursery.start_soon(by_lab, "n0")
            nursery.start_soon(by_lab, "m1")
            nursery.start_soon(by_owner)
        assert len(found) == 3
        await trio.sleep(120)
        assert used(world) == 0
        assert all(one.removed_ms for one in world["m0"].up.storage.objects.entries())


# -- tasks


@pytest.mark.parametrize("is_away", [False, True], ids=["at home", "away"])
@pytest.mark.parametrize("person", ["", "bob"], ids=["of the owner", "of a guest"])
def test_a_task_is_cancelled_and_says_by_whom_and_why(is_away: bool, person: str) -> None:
    @simulated
    async def cancelled() -> None:
        world = World(7, ["m0", "n0", "m1", "n1", "m2"], labs=2)
        async with world.running():
            task = await running_task(world, "m0", person=person)
            if is_away:
                await world.kill("m0")
            market = world["n0"].up.market
            said = await market.own_machines.elsewhere.cancel_as_lab(
                task, key_of(world, "lab-0"), WHY
            )
            assert said.state is TaskState.CANCELLED
            await until_slowly(lambda: nothing_runs(world), 30)
            if is_away:
                await world.start("m0")
            home = world["m0"].up.market
            await until_slowly(lambda: home.buyer.task(task).state is TaskState.CANCELLED, 60)
            assert home.buyer.task(task).record.why == f"the key of its lab cancelled it: {WHY}"
            again = await market.own_machines.elsewhere.cancel_as_lab(
                task, key_of(world, "lab-0"), "again"
            )
            assert again.record.why == f"the key of its lab cancelled it: {WHY}"

    cancelled()


def test_that_the_labs_key_was_shown_a_task_is_in_the_log_also_when_it_had_ended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @simulated
    async def shown() -> None:
        world = World(10, ["m0", "n0", "m1", "n1", "m2"], labs=2)
        async with world.running():
            task = await running_task(world, "m0")
            await world["m0"].up.market.buyer.cancel(task)
            await until_slowly(lambda: nothing_runs(world), 30)
            with caplog.at_level(logging.WARNING, "swarm.market"):
                for _ in range(3):
                    await world["n0"].up.market.own_machines.elsewhere.cancel_as_lab(
                        task, key_of(world, "lab-0"), WHY
                    )

    shown()
    said = [one.getMessage() for one in caplog.records if one.name == "swarm.market"]
    assert sum("its lab's key saw it; " in line for line in said) >= 1
    assert len(said) <= 5, "each machine tells it once"
    assert not any("cancelled" in line for line in said)


@simulated
async def test_the_key_of_another_lab_cancels_nothing() -> None:
    world = World(8, ["m0", "n0", "m1", "n1"], labs=2)
    async with world.running():
        task = await running_task(world, "m0")
        for lab in ("lab-1", "elsewhere"):
            with pytest.raises(TaskUnknownError):
                await world["n0"].up.market.own_machines.elsewhere.cancel_as_lab(
                    task, key_of(world, lab), WHY
                )
        assert world["m0"].up.market.buyer.task(task).state is TaskState.RUNNING


@simulated
async def test_where_it_was_submitted_the_labs_key_cancels_as_well() -> None:
    world = World(9, ["m0", "m1", "m2"], labs=1)
    async with world.running():
        task = await running_task(world, "m0", person="bob")
        said = await world["m0"].up.market.own_machines.elsewhere.cancel_as_lab(
            task, key_of(world, "lab-0"), WHY
        )
        assert said.state is TaskState.CANCELLED


@simulated
async def test_without_the_key_of_the_lab_nobody_s_phrase_is_shown() -> None:
    world = World(1, ["m0"])
    async with world.running():
        with pytest.raises(NotAllowedError, match="key of the lab is not on this machine"):
            await world["m0"].up.face.phrase_by_lab("ann")
