import random

import msgspec
import pytest
import trio
from msgspec.structs import replace

from p2p.errors import RefusalError
from p2p.host.memory.network import LinkModel
from p2p.ids import LabId, PeerId, PersonId, TrafficClass
from p2p.wire.codec import Message, encode
from storage import messages as m
from storage.coding.merkle import root_of
from storage.errors import HolderFailedError, ObjectDegradedError, StorageError
from storage.facade import ReadCap
from storage.ids import Address, LeaseId, ObjectKey, ShardRoot
from storage.manifests.manifest import Manifest, SegmentRef, address_of
from storage.placement.rendezvous import rendezvous
from storage.transfer.client import Transfer
from storage.transfer.fetch import SegmentSources
from storage.transfer.push import PushOrder, PushOutcomes
from testnet.sim.callers import machine_of
from testnet.sim.seeded import simulated
from tests.storage_lab import CONFIG, KIB, StorageLab, storage_lab

P0, P1, P2 = PeerId("p0"), PeerId("p1"), PeerId("p2")
FAR_MS = 4_000_000_000_000
QUICK = replace(CONFIG, call_timeout_s=2.0, rate_min_bytes_per_s=1 << 20)


def shard(seed: int = 1, size: int = 100_000) -> tuple[ShardRoot, bytes]:
    data = random.Random(seed).randbytes(size)
    return root_of(data), data


def terms(number: int = 1, *, is_hold: bool = False) -> m.LeaseTerms:
    lease = LeaseId(bytes([number]) * 16)
    return m.LeaseTerms(lease, PersonId("owner-p0"), LabId("lab"), 1, FAR_MS, is_hold)


def transfer(lab: StorageLab, name: str) -> Transfer:
    return lab[name].parts.transfer


@simulated
async def test_a_shard_put_is_durable_when_its_receipt_comes() -> None:
    root, data = shard()
    async with storage_lab(2) as lab:
        with trio.fail_after(10):
            receipt = await transfer(lab, "p0").put_shard(P1, root, data, terms())
        assert receipt.sealed.sender == receipt.holder == P1
        lab.kill("p1")
        await lab.start("p1")
        with trio.fail_after(10):
            await transfer(lab, "p1").get_shard(P1, root, len(data))
            with pytest.raises(HolderFailedError, match="unreachable"):  # the old connection
                await transfer(lab, "p0").get_shard(P1, root, len(data))
            assert await transfer(lab, "p0").get_shard(P1, root, len(data)) == data
            assert await transfer(lab, "p0").have(P1, [root, shard(2)[0]]) == [True, False]


@simulated
async def test_leaves_come_alone_and_are_verified() -> None:
    root, data = shard()
    async with storage_lab(2) as lab:
        with trio.fail_after(10):
            await transfer(lab, "p0").put_shard(P1, root, data, terms())
            for first, count in ((0, 1), (1, 2), (6, 1), (0, 7)):
                start = first * 16 * KIB
                part = await transfer(lab, "p0").get_leaves(P1, root, len(data), first, count)
                assert part == data[start : start + count * 16 * KIB]
            with pytest.raises(HolderFailedError, match="lied"):
                await transfer(lab, "p0").get_leaves(P1, root, len(data) + 1, 0, 1)
        assert lab["p0"].stats().lies == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"root": ShardRoot(bytes(32))}, "corrupt"),
        ({"root": ShardRoot(b"short")}, "corrupt"),
        ({"length": 5}, "corrupt"),
        ({"length": -1}, "corrupt"),
        ({"terms": msgspec.structs.replace(terms(), lease=LeaseId(b"short"))}, "corrupt"),
        ({"terms": msgspec.structs.replace(terms(), until_ms=-1)}, "corrupt"),
    ],
)
@simulated
async def test_senseless_puts_are_refused_and_leave_nothing(
    change: dict[str, object], code: str
) -> None:
    root, data = shard()
    async with storage_lab(2) as lab:
        request = msgspec.structs.replace(m.PutShard(root, len(data), terms()), **change)
        rpc = lab.keepers["p0"].rpc
        assert rpc is not None
        with trio.fail_after(10), pytest.raises(Exception, match=code):
            await rpc.call(
                P1, request, m.ShardStored,
                traffic_class=TrafficClass.NORMAL, timeout_s=5, body=data,
            )  # fmt: skip
        assert lab["p1"].stats().used_bytes == 0
        assert not lab.keepers["p1"].tables.scan("leases")


@pytest.mark.parametrize(
    "request_",
    [
        m.GetShard(ShardRoot(bytes(32))),
        m.GetShard(ShardRoot(b"")),
        m.GetShard(shard()[0], -1, 1),
        m.GetShard(shard()[0], 0, 65),
        m.GetShard(shard()[0], 0, -1),
        m.GetShard(shard()[0], 7, 1),
        m.GetManifest(Address(b"")),
        m.GetHolders(Address(bytes(32)), -1),
        m.GetHolders(Address(bytes(32)), 1 << 40),
        m.GetHolders(Address(b""), 0),
        m.GetHolders(Address(bytes(600)), 0),
        m.HaveShards(b"short"),
        m.DropLease(LeaseId(b"")),
        m.DropLease(LeaseId(bytes(600))),
        m.RenewLeases(b"short", 5),
    ],
)
@simulated
async def test_senseless_questions_are_refused(request_: Message) -> None:
    root, data = shard()
    async with storage_lab(2) as lab:
        await transfer(lab, "p0").put_shard(P1, root, data, terms())
        server = lab["p1"].parts.transfer._server
        with pytest.raises(RefusalError):
            await server.answer(machine_of(P0), request_, b"")


@simulated
async def test_a_lease_keeps_its_shard_until_the_last_one_goes() -> None:
    root, data = shard()
    async with storage_lab(2) as lab:
        ask = transfer(lab, "p0")
        with trio.fail_after(10):
            await ask.put_shard(P1, root, data, terms(1))
            await ask.put_shard(P1, root, data, terms(2))
            assert await ask.drop_lease(P1, terms(1).lease) == 0
            assert await ask.get_shard(P1, root, len(data)) == data
            assert await ask.drop_lease(P1, terms(2).lease) > 0
            with pytest.raises(HolderFailedError, match="missing"):
                await ask.get_shard(P1, root, len(data))
        assert lab["p1"].stats().used_bytes == 0


@simulated
async def test_a_shard_that_comes_after_its_lease_was_given_up_is_refused() -> None:
    root, data = shard()
    async with storage_lab(2) as lab:
        ask = transfer(lab, "p0")
        with trio.fail_after(10):
            await ask.drop_lease(P1, terms().lease)
            with pytest.raises(HolderFailedError, match="not-yours"):
                await ask.put_shard(P1, root, data, terms(is_hold=True))
        assert lab["p1"].stats().used_bytes == 0


@simulated
async def test_only_its_lab_may_give_up_or_renew_a_lease() -> None:
    root, data = shard()
    async with storage_lab(3, labs={"p2": LabId("others")}) as lab:
        claims = replace(lab.truth.members[P2], lab=LabId("lab"))
        lab.truth.members[P2] = claims  # what it says of itself counts for nothing
        with trio.fail_after(10):
            await transfer(lab, "p0").put_shard(P1, root, data, terms())
            with pytest.raises(HolderFailedError, match="not-yours"):
                await transfer(lab, "p2").drop_lease(P1, terms().lease)
            assert await transfer(lab, "p2").renew(P1, [terms().lease], FAR_MS) == [False]
            assert await transfer(lab, "p0").renew(P1, [terms().lease], FAR_MS) == [True]
            assert await transfer(lab, "p0").get_shard(P1, root, len(data)) == data


@simulated
async def test_a_silent_holder_is_given_up_as_soon_as_it_is_known_to_be_dead() -> None:
    root, data = shard()
    async with storage_lab(2, model=LinkModel(delay_s=0.001, detect_s=1000)) as lab:
        with trio.fail_after(10):
            await transfer(lab, "p0").put_shard(P1, root, data, terms())
        lab.network.crash(P1, silent=True)
        begun_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dies_after, lab, 2.0)
            with pytest.raises(HolderFailedError, match="unreachable"):
                await transfer(lab, "p0").get_shard(P1, root, len(data))
        assert trio.current_time() - begun_s < 3


async def dies_after(lab: StorageLab, seconds: float) -> None:
    await trio.sleep(seconds)
    lab.kill("p1")


@simulated
async def test_a_stalling_holder_is_replaced_by_the_next_in_order() -> None:
    root, data = shard()
    async with storage_lab(5, model=LinkModel(delay_s=0.001, detect_s=1000)) as lab:
        parts = lab["p0"].parts
        order = rendezvous(b"key", parts.pool.usable())
        lab.network.cut([P0], [c.peer for c in order[:2] if c.peer != P0])
        log = PushOutcomes()
        with trio.fail_after(60):
            holders = await parts.pusher.push(
                PushOrder([(root, data)] * 3, order, terms(), ack=3), log
            )
        assert len({holder for holder in holders if holder is not None}) == 3
        assert not {c.peer for c in order[:2] if c.peer != P0} & set(holders)
        assert set(log.asked) >= {holder for holder in holders if holder is not None}


@simulated
async def test_when_no_home_is_left_the_places_stay_empty() -> None:
    root, data = shard()
    async with storage_lab(5, quotas={"p1": 10, "p2": 10, "p3": 10}) as lab:
        parts = lab["p0"].parts
        with trio.fail_after(60):
            holders = await parts.pusher.push(
                PushOrder([(root, data)] * 4, list(parts.pool.usable()), terms(), ack=4)
            )
        assert sorted(holder or "-" for holder in holders) == ["-", "-", "p0", "p4"]


@simulated
async def test_shards_are_found_at_machines_no_record_names() -> None:
    first, second = shard(1, 5000), shard(2, 5000)
    async with storage_lab(5) as lab:
        with trio.fail_after(30):
            await transfer(lab, "p0").put_shard(PeerId("p3"), *first, terms())
            await transfer(lab, "p0").put_shard(PeerId("p4"), *second, terms())
            roots = (shard(9)[0], first[0], second[0])
            sources = SegmentSources(2, 5000, roots, (P1, P2, None))
            fetched = await lab["p0"].parts.fetcher.fetch(sources)
            assert fetched == {1: first[1], 2: second[1]}
            with pytest.raises(ObjectDegradedError, match="3 needed"):
                await lab["p0"].parts.fetcher.fetch(replace(sources, k=3))


@simulated
async def test_a_holder_that_sends_another_shard_is_blamed() -> None:
    real, fake = shard(1), shard(2)
    async with storage_lab(2) as lab:
        with trio.fail_after(10):
            await transfer(lab, "p0").put_shard(P1, *real, terms())
        lab["p1"]._shards.get = lambda root: answered(fake[1])  # type: ignore[method-assign]
        with trio.fail_after(10), pytest.raises(HolderFailedError, match="lied"):
            await transfer(lab, "p0").get_shard(P1, real[0], len(real[1]))
        assert lab["p0"].stats().lies == 1


async def answered(data: bytes) -> bytes:
    await trio.lowlevel.checkpoint()
    return data


@simulated
async def test_nonsense_signed_by_a_member_harms_nobody() -> None:
    """A manifest whose page is garbage, and holder records of the wrong shape."""
    page = b"garbage"
    bare = Manifest(
        1, 300_000, 1000, 3, 6, 1, terms().lease, PersonId("owner-p0"), LabId("lab"), 1, 0,
        (), bytes(address_of(page)) * 2,
    )  # fmt: skip
    data = encode(bare)
    address = address_of(data)
    async with storage_lab(3) as lab:
        book, ask = lab["p0"].holders, transfer(lab, "p0")
        odd = [book.seal(address, at, ((P1,) * 9,), 1) for at in (0, 1, 2, 77)]
        with trio.fail_after(10):
            await ask.put_manifest(P1, address, address_of(page), page, terms(), odd)
            await ask.put_manifest(P1, address, address, data, terms(), odd)
            for part in (page, b"", data[:-1]):
                with pytest.raises(HolderFailedError, match="corrupt"):
                    await ask.put_manifest(P1, address_of(part), address_of(part), part, terms())
        await trio.sleep(30)
        cap = ReadCap(address, ObjectKey(bytes(32)))
        with pytest.raises(StorageError):
            async for _ in lab["p2"].objects.get(cap):
                pass
        with pytest.raises(StorageError):
            await lab["p1"].objects.stat(address)
        small = Manifest(
            1, 5, 1000, 3, 6, 1, terms(2).lease, PersonId("owner-p0"), LabId("lab"), 1, 0,
            (SegmentRef(21, bytes(192)),),
        )  # fmt: skip
        data = encode(small)
        address = address_of(data)
        wide = book.seal(address, 0, ((P1,) * 9,), 1)
        with pytest.raises(HolderFailedError, match="corrupt"):
            await ask.put_manifest(P1, address, address, data, terms(), [wide])
        await ask.put_manifest(P1, address, address, data, terms(2), [wide])
        await trio.sleep(30)
        with pytest.raises(ObjectDegradedError):
            async for _ in lab["p1"].objects.get(ReadCap(address, cap.key)):
                pass
        assert (await lab["p1"].objects.stat(address)).survives.startswith("unreadable")


@simulated
async def test_a_lease_cannot_be_given_up_by_naming_it_in_another_manifest() -> None:
    root, data = shard()
    async with storage_lab(2) as lab:
        ask = transfer(lab, "p0")
        await ask.put_shard(P1, root, data, terms())
        made = [
            encode(
                Manifest(
                    1, size, 1000, 3, 6, 1, terms().lease, PersonId("owner-p0"), LabId("lab"), 1, 0,
                    (SegmentRef(size + 16, bytes(192)),),
                )
            )
            for size in (5, 6)
        ]  # fmt: skip
        mine, other = (address_of(manifest) for manifest in made)
        await ask.put_manifest(P1, mine, mine, made[0], terms())
        with pytest.raises(HolderFailedError, match="not-yours"):
            await ask.put_manifest(P1, other, other, made[1], terms())
        assert lab["p1"].leases.is_of(terms().lease, mine)
        assert not lab["p1"].leases.is_of(terms().lease, other)


@simulated
async def test_a_rotten_shard_is_missing_from_the_moment_somebody_reads_it() -> None:
    root, data = shard()
    async with storage_lab(2) as lab:
        ask = transfer(lab, "p0")
        with trio.fail_after(10):
            await ask.put_shard(P1, root, data, terms())
            await lab.keepers["p1"].shards.rot(root, 7)
            assert await ask.have(P1, [root]) == [True], "nobody has looked"
            with pytest.raises(HolderFailedError, match="missing"):
                await ask.get_shard(P1, root, len(data))
            assert await ask.have(P1, [root]) == [False]
            await ask.put_shard(P1, root, data, terms())
            assert await ask.get_shard(P1, root, len(data)) == data
            assert await ask.drop_lease(P1, terms().lease) > 0
        assert lab["p1"].stats().used_bytes == 0


@simulated
async def test_a_disk_without_any_room_refuses_and_harms_nobody() -> None:
    root, data = shard()
    async with storage_lab(2) as lab:
        ask, tables = transfer(lab, "p0"), lab.keepers["p1"].tables
        with trio.fail_after(10):
            await ask.put_shard(P1, root, data, terms())
            tables.is_full = True
            with pytest.raises(HolderFailedError, match="full"):
                await ask.put_shard(P1, *shard(2), terms())
            with pytest.raises(HolderFailedError, match="full"):
                await ask.renew(P1, [terms().lease], FAR_MS)
            assert await ask.get_shard(P1, root, len(data)) == data
            assert await ask.drop_lease(P1, terms().lease) > 0, "room is set aside for that"


def asked_by(lab: StorageLab, name: str, sources: SegmentSources) -> list[int]:
    """Shards in the order in which that machine asks for them."""
    fetcher = lab[name].parts.fetcher
    places = [(n, holder) for n, holder in enumerate(sources.holders) if holder is not None]
    return [n for n, _ in sorted(places, key=lambda place: fetcher._order(sources, *place))]


@simulated
async def test_readers_of_the_same_ask_slow_holders_each_in_an_order_of_its_own() -> None:
    holders = tuple(PeerId(f"p{number}") for number in range(8))
    roots = tuple(ShardRoot(bytes([number]) * 32) for number in range(8))
    sources = SegmentSources(4, 2 << 20, roots, holders)
    async with storage_lab(10) as lab:
        assert asked_by(lab, "p8", sources) == list(range(8)), "data shards, while all are quick"
        for reader in ("p8", "p9"):
            for holder in holders:
                lab[reader].parts.fetcher._rates.worked(holder, 2 << 20, 4.0)
        first, second = (asked_by(lab, reader, sources) for reader in ("p8", "p9"))
        assert sorted(first) == sorted(second) == list(range(8))
        assert first != second
        assert first == asked_by(lab, "p8", sources)
        lab["p8"].parts.fetcher._under_way[holders[first[0]]] = 1
        assert asked_by(lab, "p8", sources) == [*first[1:], first[0]], "that one has to do for us"
        assert asked_by(lab, "p3", sources)[0] == 3, "what is here is not fetched"
