"""What Mallory tries with objects, leases, holder records and names of others."""

from msgspec.structs import replace

from p2p.wire.codec import encode
from p2p.wire.envelope import Signed
from storage import messages as m
from storage.coding.merkle import root_of
from storage.holder.tombstones import DOMAIN as STONE_DOMAIN
from storage.holder.tombstones import Tombstone
from storage.ids import LeaseId, ShardRoot
from storage.manifests.manifest import Manifest, SegmentRef, address_of
from storage.records.holding import seal_holders
from storage.records.names.core import name_key
from storage.records.names.messages import (
    BALLOT_DOMAIN,
    NAME_DOMAIN,
    Ballot,
    BallotClaim,
    NameAccept,
    NameHeld,
    NamePrepare,
    NameRead,
    NameRecord,
)
from testnet.sim.clock import START_MS
from testnet.sim.world import NETWORK
from tests.security.who_may.scene import DATA, FAR_MS, HIGHEST, MALLORY, Scene, ordered, row, terms


@row("ShardStored")
async def put_of_her_own(scene: Scene) -> object:
    what = m.PutShard(root_of(DATA), len(DATA), terms(scene, LeaseId(b"m" * 16)))
    return await scene.ask(what, m.ShardStored, DATA)


@row("ShardStored")
async def put_under_anothers_lease(scene: Scene) -> object:
    return await scene.ask(
        m.PutShard(root_of(DATA), len(DATA), terms(scene, scene.lease)), m.ShardStored, DATA
    )


@row("ManifestStored")
async def manifest_under_anothers_lease(scene: Scene) -> object:
    """What she keeps under that id is her own, and beside it."""
    bare = Manifest(
        1, 1000, 4096, 1, 1, 1, scene.lease, scene.who.person, scene.who.lab, 1, 0,
        (SegmentRef(1016, root_of(DATA)),),
    )  # fmt: skip
    data = encode(bare)
    address = address_of(data)
    what = m.PutManifest(address, address, replace(terms(scene, scene.lease), is_hold=False))
    return await scene.ask(what, m.ManifestStored, data)


@row("LeaseDropped")
async def drop_of_her_own_under_anothers_lease(scene: Scene) -> object:
    return await scene.ask(m.DropLease(scene.lease), m.LeaseDropped)


@row("not-yours")
async def drop_of_anothers_lease(scene: Scene) -> object:
    return await scene.ask(m.DropLease(scene.lease), m.LeaseDropped)


@row("not-yours")
async def manifest_of_another_owner_than_its_terms(scene: Scene) -> object:
    bare = Manifest(
        1, 1000, 4096, 1, 1, 1, LeaseId(b"m" * 16), scene.manifest.owner, scene.manifest.lab, 1, 0,
        (SegmentRef(1016, root_of(DATA)),),
    )  # fmt: skip
    data = encode(bare)
    address = address_of(data)
    what = m.PutManifest(address, address, terms(scene, LeaseId(b"m" * 16)))
    return await scene.ask(what, m.ManifestStored, data)


@row("HoldersStored")
async def holder_record_by_one_without_a_say(scene: Scene) -> object:
    """She is answered with the record that stands; `standing` says that it does."""
    address, rows = scene.receipt.cap.address, ((MALLORY,) * scene.manifest.n,)
    sealed = seal_holders(scene.signer, NETWORK, address, 0, rows, 1 << 40)
    return await scene.ask(m.PutHolders(sealed), m.HoldersStored)


@row("not-yours")
async def drop_by_an_order_of_her_own(scene: Scene) -> object:
    order = scene.seal(m.DROP_DOMAIN, m.DropOrder(scene.lease))
    return await scene.ask(m.DropLease(scene.lease, order), m.LeaseDropped)


@row("not-yours")
async def drop_by_the_key_of_another_lab(scene: Scene) -> object:
    return await scene.ask(ordered(scene, "elsewhere", scene.lease), m.LeaseDropped)


@row("not-yours")
async def drop_by_an_order_of_the_lab_that_has_expired(scene: Scene) -> object:
    late = ordered(scene, "lab-0", scene.lease, START_MS - 1)
    return await scene.ask(late, m.LeaseDropped)


@row("not-yours")
async def drop_by_an_order_of_the_lab_for_another_lease(scene: Scene) -> object:
    return await scene.ask(ordered(scene, "lab-0", LeaseId(b"m" * 16)), m.LeaseDropped)


@row("not-yours")
async def drop_by_an_order_that_somebody_else_signed(scene: Scene) -> object:
    real = ordered(scene, "lab-0", scene.lease)
    assert real.order is not None
    forged = replace(real.order, signature=bytes(len(real.order.signature)))
    return await scene.ask(replace(real, order=forged), m.LeaseDropped)


@row("LeaseDropped")
async def drop_with_a_tombstone_of_her_own(scene: Scene) -> object:
    """Of what was hers under that id; `standing` says that all else stays."""
    stone = Tombstone(scene.lease, scene.receipt.cap.address, b"token of mallory")
    return await scene.ask(
        m.DropLease(scene.lease, tombstone=scene.seal(STONE_DOMAIN, stone)), m.LeaseDropped
    )


@row(m.LeasesRenewed(b"\1"), m.LeasesRenewed(b"\0"))
async def renewal(scene: Scene) -> object:
    return await scene.ask(m.RenewLeases(scene.lease, FAR_MS), m.LeasesRenewed)


@row("ManifestBytes")
async def reading_a_manifest(scene: Scene) -> object:
    return await scene.ask(m.GetManifest(scene.receipt.cap.address), m.ManifestBytes)


@row("HoldersFound")
async def reading_holders(scene: Scene) -> object:
    return await scene.ask(m.GetHolders(scene.receipt.cap.address, 0), m.HoldersFound)


@row("ShardsHeld")
async def asking_for_shards(scene: Scene) -> object:
    return await scene.ask(m.HaveShards(scene.manifest.segments[0].roots[:32]), m.ShardsHeld)


@row("ShardBytes")
async def reading_ciphertext(scene: Scene) -> object:
    root = ShardRoot(scene.manifest.segments[0].roots[:32])
    return await scene.ask(m.GetShard(root), m.ShardBytes)


def claim(scene: Scene, ballot: Ballot) -> Signed:
    return scene.seal(BALLOT_DOMAIN, BallotClaim(scene.victim, "secret", ballot))


@row("NameHeld")
async def reading_a_name(scene: Scene) -> object:
    return await scene.ask(NameRead(name_key(scene.victim, "secret")), NameHeld)


@row("not-yours")
async def raising_anothers_fence(scene: Scene) -> object:
    key = name_key(scene.victim, "secret")
    return await scene.ask(NamePrepare(key, HIGHEST, claim(scene, HIGHEST)), NameHeld)


@row("not-yours")
async def raising_anothers_fence_unsigned(scene: Scene) -> object:
    return await scene.ask(NamePrepare(name_key(scene.victim, "secret"), HIGHEST), NameHeld)


@row("not-yours")
async def writing_anothers_name(scene: Scene) -> object:
    record = scene.seal(NAME_DOMAIN, NameRecord(scene.victim, "secret", 2, 0, b"x", b""))
    return await scene.ask(NameAccept(HIGHEST, record, claim(scene, HIGHEST)), NameHeld)


@row("not-yours")
async def bringing_an_old_value_back(scene: Scene) -> object:
    held = await scene.ask(NameRead(name_key(scene.victim, "secret")), NameHeld)
    assert isinstance(held, NameHeld)
    assert held.state.sealed is not None
    return await scene.ask(
        NameAccept(HIGHEST, held.state.sealed, held.state.accept_claim), NameHeld
    )
