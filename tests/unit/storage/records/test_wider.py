import msgspec
import pytest
from msgspec.structs import replace

from p2p.ids import LabId, NetworkId, PeerId, PersonId
from p2p.wire.codec import encode
from storage.coding.erasure import Code
from storage.errors import ManifestError
from storage.holder.leases.tables import MANIFESTS
from storage.ids import Address, LeaseId, ShardRoot
from storage.manifests.manifest import Manifest, SegmentRef, address_of
from storage.records.holding import NO_MORE, Holding, fits, seal_holders
from storage.records.wider import UNMADE, MoreRoots, placed, read_more, write_more
from storage.repair.mender import _as_narrow_as_can_be
from testnet.sim.seeded import simulated
from testnet.sim.signer import KeyedHashSigner
from tests.storage_lab import storage_lab

ALICE, BOB, CAROL, DAVE = (PeerId(name) for name in ("alice", "bob", "carol", "dave"))
A, B, C = (ShardRoot(bytes([one]) * 32) for one in (1, 2, 3))


def manifest(k: int, n: int, roots: bytes) -> Manifest:
    refs = (SegmentRef(26, roots),)
    lease = LeaseId(bytes(16))
    return Manifest(1, 10, 64, k, n, 1, lease, PersonId("m"), LabId("l"), 1, 0, refs)


def holding(row: tuple[PeerId | None, ...], more: Address = NO_MORE) -> Holding:
    thing = Address(bytes(32))
    sealed = seal_holders(KeyedHashSigner(ALICE), NetworkId("n"), thing, 0, (row,), 2, more)
    return Holding(thing, 0, 2, ALICE, (row,), sealed, more)


@pytest.mark.parametrize(("k", "n", "more"), [(3, 6, 11), (4, 8, 12), (8, 12, 16)])
def test_shards_that_are_added_leave_those_there_were_as_they_are(
    k: int, n: int, more: int
) -> None:
    data = bytes(range(250)) * 3
    wide = Code(k, more).encode(data)
    assert wide[:n] == Code(k, n).encode(data)
    assert Code(k, more).decode(dict(list(enumerate(wide))[-k:]), len(data)) == data


def test_copies_that_are_added_have_the_root_of_the_first() -> None:
    of = manifest(1, 1, A)
    (place,) = placed(of, of.segments, holding((ALICE, BOB, None)))
    assert (place.roots, place.row) == ((A, A, A), (ALICE, BOB, None))


def test_added_shards_are_known_by_the_body_their_record_names() -> None:
    of = manifest(2, 2, A + B)
    part, data = write_more([(C, UNMADE)])
    wide = holding((ALICE, BOB, CAROL, None), part)
    more = read_more(wide, of.n, data)
    (place,) = placed(of, of.segments, wide, more)
    assert place.roots == (A, B, C, UNMADE)
    assert place.row == (ALICE, BOB, CAROL, None)


def test_without_that_body_only_the_first_shards_can_be_used() -> None:
    of = manifest(2, 2, A + B)
    (place,) = placed(of, of.segments, holding((ALICE, BOB, CAROL), address_of(b"lost")))
    assert (place.roots, place.row) == ((A, B), (ALICE, BOB))


def test_a_record_narrower_than_its_manifest_does_not_fit() -> None:
    of = manifest(1, 3, A)
    assert fits(holding((ALICE, BOB, CAROL, DAVE)), of, 1)
    assert not fits(holding((ALICE, BOB)), of, 1)


@pytest.mark.parametrize(
    "roots", [MoreRoots(()), MoreRoots((b"",)), MoreRoots((A + B,)), MoreRoots((A, A))]
)
def test_roots_for_another_record_are_refused(roots: MoreRoots) -> None:
    data = encode(roots)
    with pytest.raises(ManifestError):
        read_more(holding((ALICE, BOB, CAROL), address_of(data)), 2, data)


def test_bytes_that_are_not_what_the_record_names_are_refused() -> None:
    data = encode(MoreRoots((A,)))
    with pytest.raises(ManifestError, match="hash"):
        read_more(holding((ALICE, BOB, CAROL), address_of(b"else")), 2, data)
    with pytest.raises(ManifestError, match="not the roots"):
        read_more(holding((ALICE, BOB, CAROL), address_of(b"junk")), 2, b"junk")


def test_a_row_without_any_holder_stays_as_wide_as_it_was() -> None:
    assert _as_narrow_as_can_be([(None, None, None)], 2) == [(None, None)]
    assert _as_narrow_as_can_be([(None, None, ALICE)], 2) == [(None, None, ALICE)]


@simulated
async def test_roots_that_are_known_of_one_record_are_checked_against_another_that_names_them() -> (
    None
):
    part, data = write_more([(C, UNMADE)])
    one = manifest(2, 2, A + B)
    two = replace(one, segments=one.segments * 2)
    row = (ALICE, BOB, CAROL, None)
    async with storage_lab(1) as lab:
        tables, catalog = lab.keepers["p0"].tables, lab["p0"].parts.catalog
        await tables.transact(lambda view: view.put(MANIFESTS, part, data))
        wide = holding(row, part)
        (place,) = await catalog.placed(wide.address, one, 0, wide)
        assert place.roots == (A, B, C, UNMADE)
        for rows, of in (((row, row), two), ((row[:3],), one)):
            other = msgspec.structs.replace(wide, rows=rows)
            with pytest.raises(ManifestError, match="another record"):
                await catalog.placed(other.address, of, 0, other)
