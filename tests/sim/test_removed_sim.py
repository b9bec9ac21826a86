"""What was removed is gone, also where a holder was away, frozen or full, and stays so."""

import random
from collections.abc import AsyncIterator
from functools import partial

import pytest
import trio
from msgspec.structs import replace

from p2p.ids import PeerId
from p2p.membership.view import Liveness
from storage.engine.memory_tables import MemoryTables
from storage.errors import ObjectUnknownError, StoreFullError
from storage.facade import Mark, ObjectKind, PutReceipt
from storage.holder.leases.keys import lease_of
from storage.objects.dropping import NOW_S
from storage.service import StorageService
from storage.volumes.memory import MemoryShardStore
from testnet.sim.clock import VirtualWall
from testnet.sim.seeded import simulated, until_slowly
from tests.names_lab import OwnView
from tests.repair_lab import CONFIG, newest_record, used
from tests.storage_lab import Keeper, StorageLab, storage_lab

SLOW = replace(CONFIG, down_after_s=900.0)
DATA = random.Random(5).randbytes(50_000)


async def chunks_of(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def put(service: StorageService) -> PutReceipt:
    with trio.fail_after(60):
        return await service.objects.put(chunks_of(DATA))


async def join(lab: StorageLab, name: str) -> None:
    tables, peer = MemoryTables(commit_s=0.001), PeerId(name)
    view = OwnView(peer, lab.truth)
    shards = MemoryShardStore(tables)
    lab.keepers[name] = Keeper(peer, SLOW, tables, shards, view, VirtualWall())
    await lab.start(name)


@simulated
async def test_a_holder_that_was_away_gives_it_up_when_it_returns() -> None:
    async with storage_lab(3, config=SLOW) as lab:
        receipt = await put(lab["p0"])
        lab.kill("p2")
        gone = await lab["p0"].objects.forget(receipt.cap.address)
        assert gone is not None
        assert (sorted(gone.holders), gone.waiting) == (["p0", "p1", "p2"], ("p2",))
        assert used(lab) > 0
        await lab.start("p2")
        await until_slowly(lambda: used(lab) == 0, 10)
        with pytest.raises(ObjectUnknownError):
            await lab["p1"].objects.stat(receipt.cap.address)


@simulated
async def test_it_stays_removed_though_its_owner_is_away_when_the_holder_returns() -> None:
    async with storage_lab(2, config=CONFIG) as lab:
        receipt = await put(lab["p0"])
        lab.kill("p1")
        await join(lab, "p2")
        await until_slowly(lambda: "p2" in newest_record(lab, receipt).peers(), 60)
        await lab["p0"].objects.forget(receipt.cap.address)
        await trio.sleep(5)  # p2, which heard, keeps the owner's tombstone
        lab.kill("p0")
        await join(lab, "p3")
        await lab.start("p1")
        await until_slowly(lambda: used(lab) == 0, 10)
        await trio.sleep(300)
        assert used(lab) == 0
        assert lab["p1"].stats().repair.given_up == 1


@simulated
async def test_a_holder_that_was_cut_off_makes_no_new_copies_of_it() -> None:
    async with storage_lab(4, config=CONFIG) as lab:
        receipt = await put(lab["p0"])
        (outside,) = {"p0", "p1", "p2", "p3"} - set(receipt.holders)
        away = next(peer for peer in receipt.holders if peer != "p0")
        lab.kill(away)
        await lab["p0"].objects.forget(receipt.cap.address)
        await trio.sleep(5)
        lab.kill("p0")
        lab.kill(next(p for p in ("p1", "p2", "p3") if p not in (outside, away)))
        await lab.start(away)
        await lab.start(next(p for p in ("p1", "p2", "p3") if p not in (outside, away)))
        await until_slowly(lambda: used(lab) == 0, 30)
        assert lab.keepers[outside].shards.used_bytes() == 0


@simulated
@pytest.mark.parametrize("is_owner_there", [True, False])
async def test_a_machine_whose_part_others_took_over_gives_it_up_when_it_returns(
    is_owner_there: bool,
) -> None:
    async with storage_lab(3, config=CONFIG) as lab:
        receipt = await put(lab["p0"])
        lab.kill("p1")
        await join(lab, "p3")
        await until_slowly(lambda: "p3" in newest_record(lab, receipt).peers(), 60)
        lab.kill("p3")
        await lab.start("p1")
        await until_slowly(lambda: "p3" not in newest_record(lab, receipt).peers(), 60)
        await trio.sleep(60)
        gone = await lab["p0"].objects.forget(receipt.cap.address)
        assert gone is not None
        assert gone.waiting == ()
        assert used(lab) > 0
        if not is_owner_there:
            lab.kill("p0")
        await lab.start("p3")
        await until_slowly(lambda: used(lab) == 0, 60)
        await trio.sleep(300)
        assert used(lab) == 0


@simulated
async def test_a_frozen_holder_costs_the_removal_a_moment_only() -> None:
    async with storage_lab(3, config=SLOW) as lab:
        receipt = await put(lab["p0"])
        lab.network.cut([PeerId("p2")], [PeerId("p0"), PeerId("p1")])
        began_s = trio.current_time()
        gone = await lab["p0"].objects.forget(receipt.cap.address)
        assert gone is not None
        assert gone.waiting == ("p2",)
        assert trio.current_time() - began_s < NOW_S + 0.5
        lab.network.heal()
        await until_slowly(lambda: used(lab) == 0, 90)


@simulated
async def test_the_list_outlives_its_owners_node() -> None:
    async with storage_lab(3, config=SLOW) as lab:
        receipt = await put(lab["p0"])
        lab.kill("p1")
        await lab["p0"].objects.forget(receipt.cap.address)
        lab.kill("p0")
        lab.kill("p2")  # with it goes what was told to it in memory
        await lab.start("p0")
        await lab.start("p1")
        await until_slowly(lambda: used(lab) == 0, 60)
        await until_slowly(lambda: not lab["p0"].objects.dropping.rows(), 60)


@simulated
async def test_a_full_disk_can_still_delete() -> None:
    async with storage_lab(3, config=SLOW) as lab:
        receipt = await put(lab["p0"])
        for keeper in lab.keepers.values():
            keeper.tables.is_full = True
        with pytest.raises(StoreFullError):
            await put(lab["p0"])
        gone = await lab["p0"].objects.forget(receipt.cap.address)
        assert gone is not None
        assert not gone.waiting
        await until_slowly(lambda: used(lab) == 0, 5)


@simulated
async def test_a_strangers_tombstone_frees_nothing() -> None:
    async with storage_lab(4, config=SLOW) as lab:
        receipt = await put(lab["p0"])
        lease, row = next((lease_of(key), row) for key, row in lab["p0"].leases.all())
        thief, victim = lab["p3"], lab["p1"]
        forged = thief.tombstones.seal(lease, receipt.cap.address)
        await thief.tombstones._tables.transact(
            lambda view: thief.tombstones.write(view, lease, row, forged, 1 << 60)
        )
        before = used(lab)
        await victim.repair._dropped_elsewhere.learn_all(None)
        assert used(lab) == before
        assert victim.stats().repair.given_up == 0


@simulated
async def test_a_copy_of_the_keyring_goes_from_all_holders_and_leaves_no_tombstone() -> None:
    async with storage_lab(3, config=SLOW) as lab:
        objects = lab["p0"].objects
        copy = await objects.put(chunks_of(b"k" * 100), mark=Mark(ObjectKind.KEYRING))
        lease = lease_of(next(lab["p0"].leases.all())[0])
        lab.kill("p1")
        assert await objects.forget(copy.cap.address) is not None
        await lab.start("p1")
        await until_slowly(lambda: used(lab) == 0 and not objects.dropping.rows(), 60)
        assert not any(lab[name].tombstones.of([lease]) for name in lab.keepers)


@simulated
async def test_removing_it_twice_changes_nothing_the_second_time() -> None:
    async with storage_lab(2, config=SLOW) as lab:
        receipt = await put(lab["p0"])
        assert await lab["p0"].objects.forget(receipt.cap.address) is not None
        assert await lab["p0"].objects.forget(receipt.cap.address) is None
        lab.truth.set("p1", Liveness.ALIVE)
        await trio.sleep(60)
        assert not lab["p0"].objects.dropping.rows()


@simulated
async def test_a_holder_that_was_away_longer_than_tombstones_are_kept_brings_nothing_back() -> None:
    config = replace(CONFIG, sweep_s=60.0)
    async with storage_lab(4, config=config) as lab:
        receipt = await put(lab["p0"])
        away = next(peer for peer in receipt.holders if peer != "p0")
        lab.kill(away)
        await lab["p0"].objects.forget(receipt.cap.address)
        for keeper in lab.keepers.values():
            keeper.wall.step(90 * 24 * 3600 * 1000)
        await trio.sleep(150)
        kept = [lease_of(key) for key, _ in lab["p0"].leases.all()]
        assert not lab["p0"].tombstones.of(kept)
        assert not lab["p0"].objects.dropping.rows()
        await lab.start(away)
        others = [keeper for name, keeper in lab.keepers.items() if name != away]
        for _ in range(200):
            await trio.sleep(1)
            assert not any(keeper.shards.used_bytes() for keeper in others)
        assert used(lab) == 0


@simulated
async def test_two_that_ask_the_holders_at_once_undo_nothing_of_each_other() -> None:
    async with storage_lab(4, config=SLOW) as lab:
        receipt = await put(lab["p0"])
        away = [peer for peer in receipt.holders if peer != "p0"]
        for peer in away:
            lab.kill(peer)
        await lab["p0"].objects.forget(receipt.cap.address)
        dropping = lab["p0"].objects.dropping
        ((lease, row),) = dropping.rows()
        assert sorted(row.waiting) == sorted(away)
        async with trio.open_nursery() as nursery:
            for peer in away:  # as if each had answered another one of those who ask
                nursery.start_soon(partial(dropping.note, lease, done=[peer]))
        assert not dropping.rows()
        await dropping.note(lease, done=away[:1])  # an answer that comes late
        assert not dropping.rows()
