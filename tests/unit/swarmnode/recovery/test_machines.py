"""Several machines of one person, on virtual time: losing any of them loses nothing."""

from functools import partial
from typing import cast

import pytest
import trio

from p2p.ids import PeerId
from p2p.wire.codec import encode
from storage.facade import ReadCap
from storage.ids import Address, ObjectKey
from storage.manifests.capability import text_of_cap
from swarmnode.errors import SnapshotError
from swarmnode.estate.rows import row_of
from swarmnode.limits import COPIES_WAITING_MAX
from swarmnode.recovery import retrieval
from swarmnode.recovery.copies.place import OWN_NAME, Apart
from swarmnode.recovery.copies.pointers import KeyringCopies, Pointer, Taken, with_copy
from swarmnode.recovery.copies.shelf import NAME
from swarmnode.recovery.copies.snapshot import seal_copies
from swarmnode.recovery.service import COPY_AGAIN_S, EVERY_S, REST_S
from swarmnode.tasks.spec import Shape, TaskSpec
from testnet.sim.seeded import simulated, until
from tests.recovery_lab import (
    NOWHERE,
    SEED,
    FakeVault,
    copies_held,
    is_back,
    is_copied,
    machines,
    put,
    recover,
    shelf,
    things,
)

NOTHING_S = 60.0


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("dies", ["laptop", "server"])
@simulated
async def test_the_machine_that_dies_is_brought_back_and_the_living_one_left_alone(
    dies: str, *, at_once: bool
) -> None:
    lives = "server" if dies == "laptop" else "laptop"
    async with machines() as world:
        for name in (dies, lives):
            await put(world[name].up, f"of {name}")
            if not at_once:
                await is_copied(world[name].up)
        lost = await world[dies].up.market.buyer.submit(NOWHERE)
        await world[lives].up.market.buyer.submit(NOWHERE)
        await is_copied(world[dies].up, world[lives].up)
        await world.power_cut(dies)
        world.lose_disk(dies)
        blank = await recover(world)
        assert things(blank) == {f"of {dies}"}
        assert [one.record.task for one in blank.market.buyer.tasks()] == [lost]
        await put(world[lives].up, "later")
        await is_copied(blank, world[lives].up)
        assert not [
            one for one in world[lives].up.face.status().warnings if "machine of yours" in one
        ]
        found = await shelf(blank).read()
        writers = {one.writer for one in found.pointers}
        assert writers == {world["blank"].peer, world[lives].peer}
        assert len(found.pointers) == 2
        assert copies_held(world[lives].up) == copies_held(blank) == 1


@simulated
async def test_both_machines_die_and_all_is_back() -> None:
    async with machines() as world:
        for name in ("laptop", "server"):
            await put(world[name].up, f"of {name}")
        await is_copied(world["laptop"].up, world["server"].up)
        for name in ("laptop", "server"):
            await world.power_cut(name)
            world.lose_disk(name)
        blank = await recover(world)
        assert things(blank) == {"of laptop", "of server"}
        await is_copied(blank)
        found = await shelf(blank).read()
        assert [one.writer for one in found.pointers] == [world["blank"].peer]


@simulated
async def test_of_two_machines_that_recover_at_once_one_has_the_tasks() -> None:
    async with machines() as world:
        await put(world["laptop"].up, "of laptop")
        lost = await world["laptop"].up.market.buyer.submit(NOWHERE)
        await is_copied(world["laptop"].up, world["server"].up)
        await world.power_cut("laptop")
        world.vaults["later"] = FakeVault(recovering=True)
        nodes = [await world.start("blank"), await world.start("later")]
        for name in ("blank", "later"):
            vault = world.vaults[name]
            await until(lambda: not vault.is_recovering(), within_s=300, look_s=0.1)  # noqa: B023
        assert sorted(len(things(node)) for node in nodes) == [0, 1]
        tasks = [one.record.task for node in nodes for one in node.market.buyer.tasks()]
        assert tasks == [lost]


@simulated
async def test_of_many_writes_at_once_none_is_lost() -> None:
    async with machines() as world:
        for round_ in range(5):
            async with trio.open_nursery() as nursery:
                for name in ("laptop", "server"):
                    nursery.start_soon(put, world[name].up, f"{name} {round_}")
            await is_copied(world["laptop"].up, world["server"].up)
            writers = {one.writer for one in (await shelf(world["m0"].up).read()).pointers}
            assert writers == {world["laptop"].peer, world["server"].peer}


@simulated
async def test_while_all_others_live_there_is_nothing_to_take_over() -> None:
    async with machines() as world:
        await put(world["laptop"].up, "of laptop")
        await is_copied(world["laptop"].up, world["server"].up)
        blank = await recover(world)
        assert things(blank) == set()
        await put(blank, "of blank")
        await is_copied(blank)
        found = await shelf(blank).read()
        assert len(found.pointers) == 3
        assert found.taken == ()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be had is given up after a minute instead of ten."""
    monkeypatch.setattr(retrieval, "NOTHING_S", NOTHING_S)


@pytest.mark.usefixtures("soon")
@simulated
async def test_a_copy_that_cannot_be_read_is_left_and_holds_up_no_other() -> None:
    async with machines() as world:
        await put(world["laptop"].up, "of laptop")
        await is_copied(world["laptop"].up, world["server"].up)
        lost = Pointer(
            text_of_cap(ReadCap(Address(bytes(32)), ObjectKey(bytes(32)))), PeerId("old")
        )
        await shelf(world["m0"].up).change(lambda now: with_copy(now, lost, None))
        await world.power_cut("laptop")
        blank = await world.start("blank")
        await until(lambda: things(blank) == {"of laptop"}, within_s=300, look_s=0.1)
        assert blank.recovering.own is not None
        recovery = blank.recovering.own
        await until(lambda: "copy of old cannot be read" in recovery.warning, within_s=NOTHING_S)
        await until(partial(is_back, world), within_s=NOTHING_S + 100, look_s=0.5)
        await is_copied(blank)
        assert recovery.warning == ""
        assert lost in (await shelf(blank).read()).pointers


@pytest.mark.usefixtures("soon")
@simulated
async def test_a_copy_that_this_machine_took_over_and_cannot_read_is_never_replaced() -> None:
    async with machines() as world:
        await put(world["laptop"].up, "of laptop")
        await is_copied(world["laptop"].up, world["server"].up)
        cap = text_of_cap(ReadCap(Address(bytes(32)), ObjectKey(bytes(32))))
        ours = Pointer(cap, world["blank"].peer)  # a crash came before its things were here
        await shelf(world["m0"].up).change(lambda now: with_copy(now, ours, None))
        await world.power_cut("laptop")
        blank = await world.start("blank")
        await until(lambda: things(blank) == {"of laptop"}, within_s=300, look_s=0.1)
        await trio.sleep(2 * NOTHING_S)
        assert blank.recovering.own is not None
        assert not is_back(world)
        assert "cannot be read" in blank.recovering.own.warning
        assert ours in (await shelf(world["m0"].up).read()).pointers


@simulated
async def test_the_single_copy_that_an_older_node_left_is_brought_back() -> None:
    async with machines() as world:
        await put(world["laptop"].up, "of laptop")
        await is_copied(world["laptop"].up, world["server"].up)
        copies = await shelf(world["m0"].up).read()
        mine = next(one for one in copies.pointers if one.writer == world["laptop"].peer)
        node = world["m0"].up
        names = node.storage.names.person(node.edges.signer.from_seed(SEED))
        known = await names.read(NAME)
        assert known is not None
        value = seal_copies(SEED, cast("KeyringCopies", mine), node.edges.entropy)
        await names.write(NAME, value, expected=known.sequence, fence=0)
        await world.power_cut("laptop")
        assert things(await recover(world)) == {"of laptop"}


@simulated
async def test_the_log_of_a_task_that_had_ended_comes_back_with_its_person() -> None:
    async with machines() as world:
        laptop = world["laptop"].up
        spec = TaskSpec(run=("echo", "hello"), shape=Shape(cpu_millis=100))
        tasks = [await laptop.market.buyer.submit(spec) for _ in range(3)]
        for task in tasks:
            with trio.fail_after(120):
                await laptop.market.buyer.wait(task)
        await is_copied(laptop)
        await world.power_cut("laptop")
        world.lose_disk("laptop")
        blank = await recover(world)
        for task in tasks:
            await blank.estate.bring_log(task)
            pieces = blank.market.buyer.logs(task, "stdout", follow=False)
            assert b"".join([piece async for piece in pieces]) == b"hello\n"
        await is_copied(blank)
        row = row_of(blank.edges.state, tasks[0])
        assert row.log_bytes == 6
        assert any(one.cap.address == row.log_at for one in blank.storage.objects.entries())


@simulated
async def test_a_machine_without_the_key_is_lost_and_its_person_has_what_was_there() -> None:
    async with machines() as world:
        world.vaults["m2"] = FakeVault(seed=b"")
        await world.kill("m2")
        own = await world.start("m2")
        await put(own, "of m2")
        lost = await own.market.buyer.submit(NOWHERE)
        await is_copied(own, world["laptop"].up, world["server"].up)
        assert world["m2"].peer in (await shelf(own).read()).siblings
        await world.power_cut("m2")
        world.lose_disk("m2")
        server = world["server"].up
        assert server.recovering.own is not None
        recovery = server.recovering.own
        await until(lambda: recovery.waiting == (world["m2"].peer,), within_s=120)
        note = next(iter(server.face.status().notes))
        assert "m2 is off or gone" in note
        assert "swarmnode recover" in note
        blank = await recover(world)
        assert things(blank) == {"of m2"}
        assert [one.record.task for one in blank.market.buyer.tasks()] == [lost]
        await is_copied(blank)
        await until(lambda: not recovery.waiting, within_s=120)
        assert server.face.status().notes == ()


@simulated
async def test_what_a_stranger_leaves_as_if_of_a_person_s_machine_is_not_taken_over() -> None:
    """Anybody can seal something for a person, and have a machine of theirs told to be theirs."""
    async with machines() as world:
        mallory, victim = world["m0"].up, world["server"].up
        await put(mallory, "bait")
        cap = text_of_cap(mallory.storage.objects.entries()[0].cap)
        names = mallory.storage.names.machine()
        for number, token in enumerate((b"", b"token of peer-server")):
            sealed = FakeVault().seal(encode(Apart(cap, world["m0"].peer, token)))
            await names.write(OWN_NAME, sealed, expected=number, fence=0)
            await world.power_cut("m0") if number else None
            assert victim.recovering.own is not None
            await trio.sleep(60)
            assert victim.recovering.own.waiting == ()


class Refusing:
    """A place that can be read, and not be written."""

    async def taken(self) -> Taken | None:
        await trio.lowlevel.checkpoint()
        return None

    async def point(self, cap: str, known: Taken | None) -> None:
        await trio.lowlevel.checkpoint()
        raise SnapshotError("no room for the name")


@simulated
async def test_while_its_place_cannot_be_written_no_more_than_a_few_copies_are_made() -> None:
    async with machines() as world:
        node = world["laptop"].up
        recovery = node.recovering.own
        assert recovery is not None
        await is_copied(node)
        place, recovery._maker._place = recovery._maker._place, Refusing()
        for number in range(24):
            await put(node, f"thing {number}")
            await trio.sleep(REST_S + COPY_AGAIN_S + EVERY_S)  # as long as a try takes
        assert 1 < copies_held(node) <= COPIES_WAITING_MAX + 1
        assert "no room for the name" in recovery.warning
        recovery._maker._place = place
        await until(
            lambda: copies_held(node) == 1 and not recovery.is_behind, within_s=900, look_s=1
        )
        assert not recovery.warning
