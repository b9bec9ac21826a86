"""What a machine keeps is not freed because two persons say that others keep it in its place."""

import pytest
import trio

from p2p.ids import PeerId
from storage.records.holding import Holding
from storage.repair.witnesses import stands_without
from testnet.sim.seeded import simulated, until_slowly
from tests.repair_lab import CONFIG, got, newest_record, put, some_bytes
from tests.storage_lab import StorageLab, storage_lab


@pytest.mark.parametrize(
    ("k", "persons", "stands"),
    [
        (1, "abc", True),
        (1, "ab", False),
        (1, "ao", True),  # the owner's own word counts
        (1, "aab", False),
        (1, "wab", True),  # and that of our own person
        (3, "abcde", True),
        (3, "aabcd", False),
        (3, "aaoob", False),
        (3, "aaooob", True),
        (4, "oooo", True),
        (4, "ooo", False),
    ],
)
def test_an_object_stands_without_any_two_persons(k: int, persons: str, stands: bool) -> None:
    assert stands_without(k, list(persons), ("o", "w")) is stands


async def give(lab: StorageLab, victim: PeerId, liar: PeerId, writer: PeerId, old: Holding) -> None:
    """The writer puts it on record that the liar keeps what the victim has."""
    rows = tuple(tuple(liar if peer == victim else peer for peer in row) for row in old.rows)
    holders = lab[writer].holders
    record = holders.seal(old.address, old.page, rows, old.sequence + 1, old.more)
    await lab[writer].parts.catalog.publish_holding(record)


@simulated
async def test_two_who_lie_together_do_not_make_an_object_unreadable() -> None:
    """One writes that the other has the part of a third, who has it indeed, for the moment."""
    data = some_bytes(20_000)
    async with storage_lab(14, config=CONFIG) as lab:
        receipt = await put(lab["p0"], data)
        homes = lab["p0"].parts.catalog.homes(receipt.cap.address)
        first = newest_record(lab, receipt)
        order = sorted(first.peers(), key=lambda peer: (peer not in homes, peer))
        writer, liar, *victims = [peer for peer in order if peer != "p0"]
        manifest = await lab["p0"].parts.catalog.manifest(receipt.cap.address)
        roots = manifest.roots_of(manifest.segments[0])
        for victim in victims:
            now = newest_record(lab, receipt)
            at = now.rows[0].index(victim)
            copy = await lab.keepers[victim].shards.get(roots[at])
            await lab.keepers[liar].shards.put(roots[at], copy, lambda view: None)
            await give(lab, victim, liar, writer, now)
            await trio.sleep(30)
        freed = sum(service.stats().repair.dropped_surplus for service in lab.up())
        assert freed < len(victims)
        lab.kill(writer)
        lab.kill(liar)
        held = [peer for peer in first.peers() if peer not in (writer, liar)]
        left = sum(
            lab.keepers[peer].shards.length(root) is not None
            for peer, root in zip(first.rows[0], roots, strict=True)
            if peer in held
        )
        assert left >= manifest.k
        assert left < len(held) or not freed


@simulated
async def test_who_cannot_show_a_piece_of_it_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with storage_lab(14, config=CONFIG) as lab:
        receipt = await put(lab["p0"], some_bytes(20_000))
        homes = lab["p0"].parts.catalog.homes(receipt.cap.address)
        first = newest_record(lab, receipt)
        victim = next(peer for peer in first.peers() if peer not in (*homes, "p0"))
        liar = next(PeerId(name) for name in lab.names() if name not in first.peers())
        writer = next(peer for peer in first.peers() if peer not in (victim, "p0"))
        monkeypatch.setattr(lab.keepers[liar].shards, "length", lambda root: 5000)
        await give(lab, victim, liar, writer, first)
        await until_slowly(lambda: newest_record(lab, receipt).sequence > 1, 10)
        await trio.sleep(60)
        assert lab[victim].stats().repair.dropped_surplus == 0
        assert lab[victim].stats().used_bytes > 0


@simulated
async def test_one_person_with_many_machines_cannot_keep_an_object_from_its_owner() -> None:
    mallorys = {f"p{number}": "mallory" for number in range(4, 12)}
    data = some_bytes(60_000)
    async with storage_lab(12, config=CONFIG, owners=mallorys) as lab:  # type: ignore[arg-type]
        receipts = [await put(lab["p0"], data + bytes([number])) for number in range(6)]
        for name in mallorys:
            lab.kill(name)
        for number, receipt in enumerate(receipts):
            assert await got(lab["p1"], receipt.cap) == data + bytes([number])
