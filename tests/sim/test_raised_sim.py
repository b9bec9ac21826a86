"""What was put in a pool that was small, or not known yet, is kept as well as the pool can."""

import random
from collections.abc import Sequence
from functools import partial

import pytest
import trio
from msgspec.structs import replace

from storage.arrival import KEY, TABLE
from storage.errors import PoolUnknownError
from storage.facade import Durability, PutReceipt
from storage.ids import Address
from storage.limits import POOL_SETTLES_S
from storage.records.holders import HolderBook
from testnet.sim.seeded import simulated, until_slowly
from testnet.sim.world import World
from tests.repair_lab import CONFIG, got, is_whole, newest_record, put
from tests.storage_lab import StorageLab, storage_lab

SLOW = replace(CONFIG, down_after_s=900.0)
RAISED_S = 120.0


def are_told(books: Sequence[HolderBook], address: Address, shards: int) -> bool:
    """Whether all of them know of so many holders."""
    known = [book.get(address) for book in books]
    return all(one is not None and len(one.peers()) == shards for one in known)


def width(lab: StorageLab, receipt: PutReceipt) -> int:
    """Shards of the newest record, each on a machine of its own and really there."""
    return len(newest_record(lab, receipt).rows[0]) if is_whole(lab, receipt) else 0


@pytest.mark.parametrize("size", [100, 200_000])
@simulated
async def test_what_a_machine_put_while_the_others_were_off_gets_its_copies(size: int) -> None:
    data = random.Random(size).randbytes(size)
    async with storage_lab(3, config=SLOW) as lab:
        lab.kill("p1")
        lab.kill("p2")
        receipt = await put(lab["p0"], data)
        assert (receipt.k, receipt.n, receipt.holders) == (1, 1, ("p0",))
        await lab.start("p1")
        await lab.start("p2")
        await until_slowly(lambda: width(lab, receipt) == 3, RAISED_S)
        lab.kill("p0")
        assert await got(lab["p1"], receipt.cap) == data
        stat = await lab["p2"].objects.stat(receipt.cap.address)
        assert (stat.n, stat.survives) == (3, "any 1 machine")


@simulated
async def test_a_put_on_this_disk_alone_is_followed_by_the_rest() -> None:
    async with storage_lab(3, config=SLOW) as lab:
        receipt = await put(lab["p1"], b"x" * 50_000, Durability.LOCAL)
        assert receipt.holders == ("p1",)
        await until_slowly(lambda: width(lab, receipt) == 3, RAISED_S)


@pytest.mark.parametrize("seed", range(3))
@simulated
async def test_a_coded_object_gets_more_shards_and_keeps_its_capability(seed: int) -> None:
    data = random.Random(seed).randbytes(150_000)
    async with storage_lab(9, config=SLOW, seed=seed) as lab:
        lab.kill("p7")
        lab.kill("p8")
        receipt = await put(lab["p0"], data)
        assert (receipt.k, receipt.n) == (3, 6)
        await lab.start("p7")
        await lab.start("p8")
        await until_slowly(lambda: width(lab, receipt) == 7, RAISED_S)
        stat = await lab["p1"].objects.stat(receipt.cap.address)
        assert (stat.k, stat.n, stat.survives) == (3, 7, "any 4 machines")
        holders = newest_record(lab, receipt).rows[0]
        for name in [peer for peer in holders if peer is not None][:4]:
            lab.kill(name, is_known=False)  # the added shard is needed now
        for service in lab.up():
            assert await got(service, receipt.cap) == data


@simulated
async def test_a_lost_shard_that_had_been_added_is_made_again() -> None:
    data = random.Random(1).randbytes(40_000)
    async with storage_lab(9, config=CONFIG) as lab:
        for name in ("p6", "p7"):
            lab.kill(name)
        receipt = await put(lab["p0"], data)
        for name in ("p6", "p7"):
            await lab.start(name)
        await until_slowly(lambda: width(lab, receipt) == 7, RAISED_S)
        added = newest_record(lab, receipt).rows[0][6]
        assert added is not None
        lab.kill(added)
        await until_slowly(lambda: width(lab, receipt) == 7, RAISED_S)
        reader = next(n for n in lab.names() if n != added)
        assert await got(lab[reader], receipt.cap) == data


@simulated
async def test_a_put_right_after_a_restart_waits_until_the_pool_is_known() -> None:
    world = World(3, ["m0", "m1", "m2"])
    async with world.running():
        await until_slowly(lambda: len(world["m0"].up.storage.parts.pool.usable()) == 3, 60)
        await trio.sleep(5)  # written down for the next start
        await world.kill("m0")
        await world.start("m0")
        receipt = await put(world["m0"].up.storage, b"y" * 50_000)
        assert receipt.n == 3
        await world.power_cut("m0")
        await world.start("m0")
        receipt = await put(world["m0"].up.storage, b"z" * 500_000)
        assert receipt.n == 3


@simulated
async def test_a_put_says_to_try_again_when_those_before_the_restart_are_all_away() -> None:
    world = World(4, ["m0", "m1", "m2"])
    async with world.running():
        await until_slowly(lambda: len(world["m0"].up.storage.parts.pool.usable()) == 3, 60)
        await trio.sleep(5)
        for name in world.machines:
            await world.power_cut(name)
        began_s = trio.current_time()
        await world.start("m0")
        with pytest.raises(PoolUnknownError, match="2 machines that lend storage"):
            await put(world["m0"].up.storage, b"y" * 50_000)
        assert trio.current_time() - began_s <= POOL_SETTLES_S + 1
        local = await put(world["m0"].up.storage, b"here", Durability.LOCAL)
        later = await put(world["m0"].up.storage, b"y" * 50_000)
        assert later.survives == "nothing: stored on this machine only"
        await world.start("m1")
        await world.start("m2")
        for receipt in (local, later):
            address = receipt.cap.address
            books = [world[name].up.storage.holders for name in world.machines]
            await until_slowly(partial(are_told, books, address, 3), RAISED_S)


@simulated
async def test_a_first_node_waits_for_nobody() -> None:
    async with storage_lab(1) as lab:
        began_s = trio.current_time()
        receipt = await put(lab["p0"], b"z" * 500)
        assert trio.current_time() - began_s < 1
        assert receipt.n == 1
        assert lab.keepers["p0"].tables.get(TABLE, KEY) is None


FROZEN_S = 1.5


@pytest.mark.parametrize("size", [100, 50_000])
@simulated
async def test_a_frozen_holder_of_three_costs_a_put_a_moment_and_its_copy_follows(
    size: int,
) -> None:
    async with storage_lab(3, config=SLOW) as lab:
        lab.freeze("p2")
        began_s = trio.current_time()
        receipt = await put(lab["p0"], b"x" * size)
        assert trio.current_time() - began_s <= FROZEN_S
        assert receipt.survives == "any 1 machine; the third copy follows"
        assert sorted(receipt.holders) == ["p0", "p1"]
        lab.thaw()
        await until_slowly(lambda: width(lab, receipt) == 3, RAISED_S)
        stat = await lab["p2"].objects.stat(receipt.cap.address)
        assert stat.survives == "any 2 machines"


@pytest.mark.parametrize(("machines", "frozen"), [(4, 1), (9, 1), (13, 1)])
@simulated
async def test_another_machine_takes_the_place_of_a_frozen_one(machines: int, frozen: int) -> None:
    async with storage_lab(machines, config=SLOW) as lab:
        others = [name for name in lab.names() if name != "p0"]
        lab.freeze(others[0])
        for number in range(3):
            began_s = trio.current_time()
            receipt = await put(lab["p0"], b"x" * (10_000 + number))
            assert trio.current_time() - began_s <= FROZEN_S
            assert "follow" not in receipt.survives, "a whole set"
