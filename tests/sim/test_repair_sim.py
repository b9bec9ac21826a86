"""Whole storage services lose machines and mend themselves, on virtual time."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import trio
from msgspec.structs import replace

from p2p.host.memory.network import LinkModel
from p2p.host.rpc.messages import Call
from p2p.ids import PeerId, TrafficClass
from p2p.membership.view import Liveness
from p2p.wire.codec import decode_as, number_in, number_of
from storage.engine.memory_tables import MemoryTables
from storage.facade import PutReceipt
from storage.holder.leases.given_up import EVERYBODY
from storage.ids import ShardRoot
from storage.messages import GetHolders
from storage.placement.rendezvous import peers_in_order
from storage.records.holders import HolderBook
from storage.records.holding import Holding
from storage.repair.events import Mend
from storage.volumes.memory import MemoryShardStore
from testnet.sim.clock import VirtualWall
from testnet.sim.seeded import simulated, until_slowly
from tests.names_lab import OwnView
from tests.repair_lab import (
    CONFIG,
    SLOW,
    got,
    is_whole,
    newest_record,
    put,
    repairs,
    some_bytes,
)
from tests.storage_lab import Keeper, StorageLab, storage_lab


class LyingStore(MemoryShardStore):
    """A disk, or its owner, that gives wrong bytes with a straight face."""

    async def get(self, root: ShardRoot) -> bytes:
        """The right length, one bit off."""
        data = bytearray(await super().get(root))
        data[0] ^= 1
        return bytes(data)


async def join(lab: StorageLab, name: str) -> None:
    """A machine that nobody has seen before joins."""
    tables, peer = MemoryTables(commit_s=0.001), PeerId(name)
    members = OwnView(peer, lab.truth)
    shards = MemoryShardStore(tables)
    lab.keepers[name] = Keeper(peer, CONFIG, tables, shards, members, VirtualWall())
    await lab.start(name)
    await trio.sleep(2)


async def turn_liar(lab: StorageLab, name: str) -> None:
    """From now on its shards come out wrong."""
    lab.kill(name, is_known=False)
    keeper = lab.keepers[name]
    keeper.shards = LyingStore(keeper.tables)
    await lab.start(name)


@pytest.mark.parametrize("seed", range(3))
@simulated
async def test_nine_machines_lose_one_then_two_and_mend_every_segment(seed: int) -> None:
    data = some_bytes(200_000, seed)
    async with storage_lab(9, config=CONFIG, seed=seed) as lab:
        receipt = await put(lab["p0"], data)
        small = await put(lab["p1"], b"small")
        assert (receipt.k, receipt.n) == (4, 8)
        first, second, reader = newest_record(lab, receipt).peers()[:3]
        lab.kill(first)
        await until_slowly(lambda: is_whole(lab, receipt) and is_whole(lab, small), 60)
        assert repairs(lab) >= 1
        lab.kill(second)
        await trio.sleep(20)  # seven machines are left for eight shards: nowhere to put the last
        assert await got(lab[reader], receipt.cap) == data
        await lab.start(first)
        await until_slowly(lambda: is_whole(lab, receipt) and is_whole(lab, small), 60)
        assert await got(lab[reader], receipt.cap) == data


@pytest.mark.parametrize("seed", range(3))
@simulated
async def test_of_twelve_machines_three_die_at_once_over_lossy_lines(seed: int) -> None:
    data = some_bytes(200_000, seed)
    model = LinkModel(delay_s=0.01, jitter_s=0.01, break_rate=0.002)
    async with storage_lab(12, config=CONFIG, model=model, seed=seed) as lab:
        receipt = await put(lab["p0"], data)
        assert (receipt.k, receipt.n) == (4, 8)
        for name in newest_record(lab, receipt).peers()[:3]:
            lab.kill(name)
        await until_slowly(lambda: is_whole(lab, receipt), 120)
        assert await got(lab.up()[0], receipt.cap) == data
        assert sum(service.stats().repair.bytes_repaired for service in lab.up()) > 0
        # homes that hold nothing may have missed the new record: they ask for it
        await until_slowly(lambda: all(s.stats().repair.degraded == 0 for s in lab.up()), 60)


@simulated
async def test_an_object_outlives_all_its_first_holders() -> None:
    data = some_bytes(100_000)
    async with storage_lab(8, config=CONFIG) as lab:
        receipt = await put(lab["p0"], data)
        assert (receipt.k, receipt.n) == (3, 6)
        first = sorted(newest_record(lab, receipt).peers())
        for number, name in enumerate(first):
            await join(lab, f"new{number}")
            lab.kill(name)
            await until_slowly(lambda: is_whole(lab, receipt), 60)
        record = newest_record(lab, receipt)
        assert not set(record.peers()) & set(first)
        reader = next(k for k, keeper in lab.keepers.items() if keeper.service is not None)
        assert await got(lab[reader], receipt.cap) == data


@simulated
async def test_wrong_bytes_of_one_source_are_blamed_and_the_repair_succeeds() -> None:
    data = some_bytes(30_000)
    async with storage_lab(9, config=CONFIG) as lab:
        receipt = await put(lab["p0"], data)
        row = newest_record(lab, receipt).rows[0]
        liar, victim = row[0], row[1]
        assert liar is not None
        assert victim is not None
        await turn_liar(lab, liar)
        lab.kill(victim)
        await until_slowly(lambda: victim not in newest_record(lab, receipt).peers(), 60)
        assert any(service.stats().lies > 0 for service in lab.up())
        assert await got(lab["p8" if victim != "p8" else "p7"], receipt.cap) == data


@simulated
async def test_a_machine_that_comes_back_in_time_is_not_replaced() -> None:
    async with storage_lab(12, config=SLOW) as lab:
        receipt = await put(lab["p0"], some_bytes(100_000))
        before = newest_record(lab, receipt)
        victim = before.peers()[0]
        lab.kill(victim)
        await trio.sleep(40)
        await lab.start(victim)
        await trio.sleep(120)
        assert newest_record(lab, receipt) == before
        assert repairs(lab) == 0


@simulated
async def test_a_machine_that_comes_back_too_late_frees_what_others_keep_now() -> None:
    data = some_bytes(100_000)
    async with storage_lab(12, config=CONFIG) as lab:
        receipt = await put(lab["p0"], data)
        homes = lab["p0"].parts.catalog.homes(receipt.cap.address)
        victim = next(p for p in newest_record(lab, receipt).peers() if p not in homes)
        lab.kill(victim)
        await until_slowly(lambda: is_whole(lab, receipt), 60)
        await lab.start(victim)
        await until_slowly(lambda: lab[victim].stats().repair.dropped_surplus == 1, 60)
        assert lab[victim].stats().used_bytes == 0
        assert is_whole(lab, receipt)
        assert await got(lab[victim], receipt.cap) == data


@simulated
async def test_in_a_small_pool_where_all_are_homes_who_comes_back_too_late_frees_its_part_too() -> (
    None
):
    data = some_bytes(100_000)
    async with storage_lab(5, config=CONFIG) as lab:
        receipt = await put(lab["p0"], data)
        address = receipt.cap.address
        assert len(lab["p0"].parts.catalog.homes(address)) == 5
        victim = next(peer for peer in newest_record(lab, receipt).peers() if peer != "p0")
        lab.kill(victim)
        await until_slowly(lambda: victim not in newest_record(lab, receipt).peers(), 60)
        await until_slowly(lambda: is_whole(lab, receipt), 60)
        await lab.start(victim)
        assert lab[victim].stats().used_bytes > 0
        await until_slowly(lambda: lab[victim].stats().repair.dropped_surplus == 1, 60)
        assert lab[victim].stats().used_bytes == 0
        assert lab[victim].leases.manifest(address) is not None, "it is a home still"
        await until_slowly(lambda: is_whole(lab, receipt), 60)
        for holder in newest_record(lab, receipt).rows[0][1:]:
            assert holder is not None
            lab.kill(holder)
        assert await got(lab[victim], receipt.cap) == data


@simulated
async def test_who_gave_an_object_up_writes_no_more_records_and_forgets_those_it_has() -> None:
    data = some_bytes(100_000)
    async with storage_lab(12, config=CONFIG) as lab:
        receipt = await put(lab["p0"], data)
        before = newest_record(lab, receipt)
        homes = lab["p0"].parts.catalog.homes(receipt.cap.address)
        gone = next(peer for peer in before.peers() if peer not in homes)
        catalog, holders = lab[gone].parts.catalog, lab[gone].holders
        manifest = await catalog.manifest(receipt.cap.address)
        for key, _ in lab[gone].leases.rows(manifest.lease):
            await lab[gone].leases.drop_one(key, given=EVERYBODY)
        emptied = tuple((None, *row[1:]) for row in before.rows)
        stale = holders.seal(before.address, before.page, emptied, before.sequence + 1)
        assert await catalog.publish_holding(stale) == 0
        assert newest_record(lab, receipt) == before
        await holders.accept(before)  # it was on its way while the lease was dropped
        await until_slowly(lambda: holders.get(before.address) is None, 60)
        assert await got(lab[gone], receipt.cap) == data


@contextmanager
def split(lab: StorageLab, left: list[PeerId], right: list[PeerId]) -> Iterator[None]:
    """Two halves that take each other for dead."""
    lab.network.cut(left, right)
    for mine, theirs in ((left, right), (right, left)):
        for peer in mine:
            lab.keepers[peer].members.believe(theirs, Liveness.DEAD)
    yield
    for mine, theirs in ((left, right), (right, left)):
        for peer in mine:
            lab.keepers[peer].members.believe(theirs, Liveness.ALIVE)
    lab.network.heal()


@pytest.mark.parametrize("seed", range(3))
@simulated
async def test_two_halves_that_both_mended_an_object_agree_on_one_record(seed: int) -> None:
    data = some_bytes(30_000, seed)
    async with storage_lab(12, config=CONFIG, seed=seed) as lab:
        receipt = await put(lab["p0"], data)
        assert (receipt.k, receipt.n) == (4, 8)
        holders = newest_record(lab, receipt).peers()
        spares = [k.peer for k in lab.keepers.values() if k.peer not in holders]
        left, right = [*holders[:4], *spares[:2]], [*holders[4:], *spares[2:]]
        with split(lab, left, right):
            for half in (left, right):
                await until_slowly(partial(is_mended_at, lab[half[0]].holders, receipt), 120)
        await until_slowly(
            lambda: is_whole(lab, receipt) and len(records_of(lab, receipt)) == 1, 120
        )
        for name in lab.names():
            assert await got(lab[name], receipt.cap) == data


def records_of(lab: StorageLab, receipt: PutReceipt) -> set[Holding]:
    """Which records of an object there are."""
    return {record for s in lab.up() if (record := s.holders.get(receipt.cap.address))}


def is_mended_at(book: HolderBook, receipt: PutReceipt) -> bool:
    """Whether a machine knows another record than the first."""
    record = book.get(receipt.cap.address)
    return record is not None and record.sequence > 1


@simulated
async def test_a_machine_that_leaves_is_replaced_at_once() -> None:
    async with storage_lab(12, config=SLOW) as lab:
        receipt = await put(lab["p0"], some_bytes(50_000))
        victim = newest_record(lab, receipt).peers()[0]
        lab.kill(victim, is_known=False)
        lab.truth.set(victim, Liveness.LEFT)
        await until_slowly(lambda: is_whole(lab, receipt), 120)


@simulated
async def test_where_there_is_no_better_place_the_object_is_mended_later() -> None:
    data = some_bytes(50_000)
    async with storage_lab(3, config=CONFIG) as lab:
        receipt = await put(lab["p0"], data)
        assert (receipt.k, receipt.n) == (1, 3)
        lab.kill("p2")
        await trio.sleep(1)
        assert lab["p0"].stats().repair.degraded == 1
        await trio.sleep(60)
        assert repairs(lab) == 0
        assert lab["p0"].stats().repair.degraded == 0, "two machines have two copies"
        assert await got(lab["p1"], receipt.cap) == data
        await join(lab, "p9")
        await until_slowly(lambda: is_whole(lab, receipt), 60)
        assert lab["p0"].stats().repair.degraded == 0
        assert PeerId("p9") in newest_record(lab, receipt).peers()


@simulated
async def test_while_many_are_silent_only_what_is_about_to_be_lost_is_mended() -> None:
    async with storage_lab(20, config=CONFIG) as lab:
        receipt = await put(lab["p0"], some_bytes(30_000))
        assert (receipt.k, receipt.n) == (8, 16)
        holders = newest_record(lab, receipt).peers()
        for name in holders[:4]:
            lab.kill(name)
        await trio.sleep(7)
        assert repairs(lab) == 0  # four of twenty at once: a partition, for all we know
        await trio.sleep(60)
        assert repairs(lab) > 0  # it has lasted too long


@simulated
async def test_an_object_with_pages_is_mended_page_by_page() -> None:
    config = replace(CONFIG, segment_bytes=512)
    data = some_bytes(300 * 512)
    async with storage_lab(6, config=config) as lab:
        receipt = await put(lab["p0"], data)
        victim = newest_record(lab, receipt).peers()[0]
        reader = next(name for name in lab.names() if name != victim)
        manifest = await lab[reader].parts.catalog.manifest(receipt.cap.address)
        assert manifest.page_count == 2
        lab.kill(victim)

        def is_mended() -> bool:
            records = [
                s.holders.get(receipt.cap.address, page) for page in (0, 1) for s in lab.up()
            ]
            return all(r is None or victim not in r.peers() for r in records)

        await until_slowly(is_mended, 300)
        assert await got(lab[reader], receipt.cap) == data


@pytest.mark.parametrize("seed", range(3))
@simulated
async def test_three_that_mend_the_same_at_once_agree_on_one_record(seed: int) -> None:
    data = some_bytes(60_000, seed)
    async with storage_lab(12, config=CONFIG, seed=seed) as lab:
        receipt = await put(lab["p0"], data)
        record = newest_record(lab, receipt)
        victim, *others = record.peers()
        lab.kill(victim)
        page = (receipt.cap.address, 0)
        lost = tuple((at, (row.index(PeerId(victim)),)) for at, row in enumerate(record.rows))
        async with trio.open_nursery() as nursery:
            for name in others[:3]:
                nursery.start_soon(lab[name].repair._mend, Mend(page, record.sequence, lost))
        await until_slowly(lambda: is_whole(lab, receipt), 120)
        assert newest_record(lab, receipt).signer in others
        assert await got(lab[others[0]], receipt.cap) == data


@simulated
async def test_a_machine_that_comes_back_with_an_empty_disk_is_given_its_shards_anew() -> None:
    data = some_bytes(60_000)
    async with storage_lab(9, config=SLOW) as lab:
        receipt = await put(lab["p0"], data)
        record = newest_record(lab, receipt)
        victim = record.peers()[0]
        lab.kill(victim)
        keeper = lab.keepers[victim]
        keeper.tables = MemoryTables(commit_s=0.001)
        keeper.shards = MemoryShardStore(keeper.tables)
        await trio.sleep(5)
        await lab.start(victim)

        def is_mended() -> bool:
            best = newest_record(lab, receipt)
            return best.sequence > record.sequence + 1 and is_whole(lab, receipt)

        await until_slowly(is_mended, 30)
        assert sum(service.stats().repair.shards_missed for service in lab.up()) > 0
        assert await got(lab[victim], receipt.cap) == data


@simulated
async def test_the_leader_of_a_repair_that_lost_its_disk_in_a_moment_is_noticed_by_the_next() -> (
    None
):
    data = some_bytes(60_000)
    async with storage_lab(4, config=SLOW) as lab:
        receipt = await put(lab["p0"], data)
        record = newest_record(lab, receipt)
        key = record.address + record.page.to_bytes(4)
        leader = peers_in_order(key, record.peers())[0]
        lab.kill(leader, is_known=False)
        keeper = lab.keepers[leader]
        keeper.tables = MemoryTables(commit_s=0.001)
        keeper.shards = MemoryShardStore(keeper.tables)
        await lab.start(leader)
        await until_slowly(lambda: newest_record(lab, receipt).sequence > record.sequence, 900)
        await until_slowly(lambda: is_whole(lab, receipt), 900)
        assert await got(lab[leader], receipt.cap) == data


@simulated
async def test_a_holder_that_missed_a_record_hears_of_it_though_few_are_asked_each_time() -> None:
    async with storage_lab(9, config=SLOW) as lab:
        receipt = await put(lab["p0"], some_bytes(60_000))
        await trio.sleep(30)  # everybody has compared records with all the others once
        record = newest_record(lab, receipt)
        behind, *others = record.peers()
        newer = lab[others[0]].holders.seal(record.address, 0, record.rows, record.sequence + 1)
        for name in others:
            await lab[name].holders.accept(newer)
        asked: list[PeerId] = []
        lab.network.trace = partial(_note_question, asked, PeerId(behind))
        await until_slowly(lambda: lab[behind].holders.get(record.address) == newer, 600)
        assert 0 < len(asked) <= 8, "a few each time"


def _note_question(
    asked: list[PeerId], by: PeerId, at_s: float, sender: PeerId, to: PeerId,
    traffic_class: TrafficClass, frame: bytes,
) -> None:  # fmt: skip
    if sender == by and number_in(frame) == number_of(Call):
        payload = decode_as(Call, frame).payload
        if number_in(payload) == number_of(GetHolders):
            asked.append(to)
