"""What is said of objects is what their holders say: degraded and unreadable ones show."""

import random
import re
from collections.abc import AsyncIterator
from datetime import datetime

import trio
from msgspec.structs import replace

from p2p.membership.view import Liveness
from storage.facade import PLAIN, Mark, ObjectHealth, ObjectKind, PutReceipt
from storage.objects.standing import STANDING_LOOK_S, ObjectTrouble
from storage.service import StorageService
from swarmnode.node import Node
from testnet.sim.seeded import simulated
from testnet.sim.world import World
from tests.repair_lab import CONFIG
from tests.storage_lab import storage_lab

SLOW = replace(CONFIG, down_after_s=900.0)
DATA = random.Random(3).randbytes(50_000)


async def chunks_of(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def put(
    service: StorageService, data: bytes = DATA, name: str = "", mark: Mark = PLAIN
) -> PutReceipt:
    with trio.fail_after(60):
        return await service.objects.put(chunks_of(data), name=name, mark=mark)


@simulated
async def test_stat_asks_the_holders_instead_of_remembering() -> None:
    async with storage_lab(3, config=SLOW) as lab:
        receipt = await put(lab["p0"])
        address = receipt.cap.address
        stat = await lab["p0"].objects.stat(address)
        assert (stat.health, stat.shards_live, stat.survives) == (
            ObjectHealth.WHOLE,
            3,
            "any 2 machines",
        )
        (lease,) = [lease for lease, _ in lab["p1"].leases.all()]
        await lab["p1"].leases.drop_one(lease)  # as with a clock that is wrong
        stat = await lab["p0"].objects.stat(address)
        assert (stat.health, stat.shards_live, stat.survives) == (
            ObjectHealth.DEGRADED,
            2,
            "any 1 machine",
        )
        lab.freeze("p2")
        with trio.fail_after(10):
            stat = await lab["p0"].objects.stat(address)
        assert stat.shards_live == 1
        assert {holder for *_, holder, has_it in stat.holders if has_it} == {"p0"}


@simulated
async def test_an_object_without_its_holders_is_unreadable_not_well() -> None:
    async with storage_lab(9, config=SLOW) as lab:
        receipt = await put(lab["p0"])
        others = [peer for peer in receipt.holders if peer != "p0"]
        for name in others[:5]:
            lab.kill(name)
        stat = await lab["p0"].objects.stat(receipt.cap.address)
        assert stat.health is ObjectHealth.UNREADABLE
        assert stat.survives.startswith("unreadable now")


@simulated
async def test_an_owner_is_told_when_objects_lack_copies_and_when_they_are_whole() -> None:
    async with storage_lab(3, config=SLOW) as lab:
        told: list[ObjectTrouble] = []
        own = lab["p0"].objects.own
        own.on_change(told.append)
        receipt = await put(lab["p0"])
        await trio.sleep(2 * STANDING_LOOK_S)
        assert not told
        lab.kill("p2")
        await trio.sleep(2 * STANDING_LOOK_S)
        lab.truth.set("p2", Liveness.DEAD)
        assert [one.health for one in told] == [ObjectHealth.DEGRADED]
        assert lab["p0"].stats().own_degraded == 1
        assert lab["p0"].stats().repair.degraded == 1
        assert lab["p0"].stats().repair.unreadable == 0
        await lab.start("p2")
        await trio.sleep(2 * STANDING_LOOK_S)
        assert [one.health for one in told] == [ObjectHealth.DEGRADED, ObjectHealth.WHOLE]
        assert lab["p0"].stats().own_degraded == 0
        await lab["p0"].objects.forget(receipt.cap.address)


@simulated
async def test_status_warns_while_objects_lack_copies() -> None:
    world = World(2, ["m0", "m1", "m2"], settings={"timers.down_after_s": 600.0})
    async with world.running():
        await trio.sleep(20)
        node = world["m0"].up
        await put(node.storage)
        await trio.sleep(2 * STANDING_LOOK_S)
        assert not node.face.status().warnings
        await world.power_cut("m2")
        await trio.sleep(40)
        status = node.face.status()
        assert any("lack copies" in warning for warning in status.warnings)
        assert (status.storage.kept_degraded, status.storage.own_degraded) == (1, 1)
        await world.power_cut("m1")
        await world.start("m2")
        await world.start("m1")
        await trio.sleep(60)
        assert not node.face.status().warnings


@simulated
async def test_an_owner_that_holds_nothing_learns_that_others_have_mended_it() -> None:
    async with storage_lab(12, config=CONFIG) as lab:
        for _ in range(20):
            receipt = await put(lab["p0"])
            homes = lab["p0"].parts.catalog.homes(receipt.cap.address)
            if "p0" not in (*receipt.holders, *homes):
                break
        victim = receipt.holders[0]
        lab.kill(victim)
        await trio.sleep(2 * STANDING_LOOK_S + 30)
        assert lab["p0"].objects.own.troubles == {}


@simulated
async def test_status_says_which_objects_lack_copies_since_when_and_whom_it_waits_for() -> None:
    world = World(2, ["m0", "m1", "m2", "m3"], settings={"timers.down_after_s": 600.0})
    async with world.running():
        await trio.sleep(20)
        node = world["m0"].up
        for name in ("thesis", "data\n", "c", "d"):
            await put(node.storage, name=name)
        await put(node.storage, mark=Mark(ObjectKind.KEYRING))
        await trio.sleep(2 * STANDING_LOOK_S)
        silent_ms = node.edges.wall_ms()
        await world.power_cut("m3")
        await trio.sleep(40)
        (line,) = [one for one in node.face.status().warnings if "of yours lack copies" in one]
        assert "lack copies (c, d, data\n and 2 more; since " in line
        until = re.search(r"m3 is away, and waited for until (\S+ \S+) UTC; then", line)
        assert until is not None
        until_ms = datetime.fromisoformat(f"{until[1]}+00:00").timestamp() * 1000
        assert 0 <= until_ms - silent_ms - 600_000 + 60_000 <= 120_000
        brief = [one for one in node.face.reader.health().warnings if "of yours lack copies" in one]
        assert brief == ["objects of yours lack copies: they are made anew when machines are there"]
        assert node.face.reader.health() == node.face.reader.health()


@simulated
async def test_one_of_several_people_is_told_of_their_own_things_alone() -> None:
    world = World(2, ["m0", "m1", "m2"], settings={"timers.down_after_s": 600.0})
    async with world.running():
        await trio.sleep(20)
        node = world["m0"].up
        await put(node.storage, name="of ben", mark=Mark(person="ben"))
        await put(node.storage, mark=Mark(ObjectKind.KEYRING))
        await trio.sleep(2 * STANDING_LOOK_S)
        await world.power_cut("m2")
        await trio.sleep(40)
        assert not [one for one in node.face.status("cy").warnings if "yours" in one]
        assert node.face.status("cy").storage.own_degraded == 0
        (line,) = [one for one in node.face.status("ben").warnings if "yours" in one]
        assert "lack copies (of ben; since" in line
        assert node.face.status("ben").storage.own_degraded == 1
        (line,) = [one for one in node.face.status().warnings if "yours" in one]
        assert "lack copies (the copy of your keyring; since" in line


def lacking(node: Node) -> list[str]:
    return [warning for warning in node.face.status().warnings if "lack copies" in warning]


@simulated
async def test_a_pool_that_has_become_smaller_for_good_has_whole_objects_again() -> None:
    world = World(2, ["m0", "m1", "m2", "m3"], settings={"timers.down_after_s": 120.0})
    async with world.running():
        await trio.sleep(20)
        node = world["m0"].up
        told: list[ObjectTrouble] = []
        node.storage.objects.own.on_change(told.append)
        address = (await put(node.storage)).cap.address
        await trio.sleep(2 * STANDING_LOOK_S)
        await world.power_cut("m3")
        await trio.sleep(60)
        stat = await node.storage.objects.stat(address)
        assert (stat.health, stat.shards_live, stat.n) == (ObjectHealth.DEGRADED, 3, 4)
        assert len(lacking(node)) == 2, "m3 is waited for"
        await trio.sleep(120)
        stat = await node.storage.objects.stat(address)
        assert (stat.health, stat.shards_live, stat.n) == (ObjectHealth.WHOLE, 3, 4)
        assert stat.survives == "any 2 machines"
        status = node.face.status()
        assert (status.storage.kept_degraded, status.storage.own_degraded) == (0, 0)
        assert not lacking(node)
        assert [one.health for one in told] == [ObjectHealth.DEGRADED, ObjectHealth.WHOLE]
        await world.power_cut("m2")
        await trio.sleep(60)
        assert (await node.storage.objects.stat(address)).health is ObjectHealth.DEGRADED
        assert len(lacking(node)) == 2, "the next is waited for like the first"
        await world.start("m2")
        await world.start("m3")
        await trio.sleep(60)
        stat = await node.storage.objects.stat(address)
        assert (stat.health, stat.shards_live) == (ObjectHealth.WHOLE, 4)
        assert not lacking(node)


async def remove(world: World, victim: str) -> None:
    """As if a removal had come to everybody else."""
    await world.power_cut(victim)
    for machine in world.machines.values():
        if machine.name != victim:
            machine.up._on_out({world[victim].peer: "removed by the lab"})


@simulated
async def test_who_was_removed_is_not_waited_for_in_a_pool_that_has_no_other_place() -> None:
    world = World(2, ["m0", "m1", "m2", "m3"], settings={"timers.down_after_s": 600.0})
    async with world.running():
        await trio.sleep(20)
        node = world["m0"].up
        address = (await put(node.storage)).cap.address
        await trio.sleep(2 * STANDING_LOOK_S)
        await remove(world, "m3")
        await trio.sleep(2 * STANDING_LOOK_S)
        assert (await node.storage.objects.stat(address)).health is ObjectHealth.WHOLE
        assert not lacking(node)
        assert node.face.status().storage.kept_degraded == 0
        await world.power_cut("m2")
        await trio.sleep(40)
        (line,) = [one for one in lacking(node) if "of yours" in one]
        assert "): m3 was removed, m2 is away" in line


@simulated
async def test_what_a_removed_machine_held_is_made_anew_elsewhere_at_once() -> None:
    names = ["m0", "m1", "m2", "m3", "m4", "m5"]
    world = World(2, names, settings={"timers.down_after_s": 6000.0})
    async with world.running():
        await trio.sleep(20)
        node = world["m0"].up
        receipt = await put(node.storage)
        assert (receipt.k, receipt.n) == (1, 5), "one silent holder would be waited for"
        victim = next(n for n in names[1:] if world[n].peer in receipt.holders)
        await remove(world, victim)
        await trio.sleep(120)
        stat = await node.storage.objects.stat(receipt.cap.address)
        assert (stat.health, stat.shards_live) == (ObjectHealth.WHOLE, 5)
        assert world[victim].peer not in {holder for *_, holder, has_it in stat.holders if has_it}
