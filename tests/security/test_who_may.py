"""The table "Who may" of docs/protocol.md, tried by the wrong party, message by message.

A node with an object, a name and a running task; beside it a member of the same lab and one of
another lab, who know every id there is, and machines that are no members any more or never were.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import pytest
import trio
from msgspec.structs import replace

from p2p.errors import AdmissionError, PeerUnreachableError, RemoteRefusalError
from p2p.gossip.items import STORAGE
from p2p.gossip.messages import DOMAINS, Carried, Digest, ItemFact, Push, Want
from p2p.host.admission.exchange import TokenAdmission
from p2p.host.memory.host import MemoryHost, memory_address
from p2p.host.rpc.echo import EchoReply, EchoRequest
from p2p.host.rpc.service import Rpc
from p2p.identity.admission import Anchor, Clocks, check_token
from p2p.identity.caller import Caller
from p2p.identity.issue import DAY_MS, Keys, Names, found
from p2p.identity.keys import KeySigner, network_id_of
from p2p.identity.records import MembershipToken
from p2p.ids import LabId, MemberId, PeerId, TrafficClass
from p2p.membership.messages import PRESENCE_DOMAIN, News, Opinion, Presence, Spread
from p2p.register.messages import Entries, Held
from p2p.renewal.messages import RenewRequest
from p2p.wire.codec import Message, encode
from p2p.wire.envelope import Signed, seal
from storage import messages as m
from storage.coding.merkle import root_of
from storage.facade import NameValue, PutReceipt
from storage.holder.tombstones import DOMAIN as STONE_DOMAIN
from storage.holder.tombstones import Tombstone
from storage.ids import LeaseId, ShardRoot
from storage.manifests.manifest import Manifest, SegmentRef, address_of, read_manifest
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
from swarmnode.market.guardians.messages import (
    CLAIM_DOMAIN,
    HOME_DOMAIN,
    TASK_ORDER_DOMAIN,
    AskVote,
    Claim,
    ClaimTerms,
    ComeHome,
    FindTask,
    GuardBeat,
    GuardHeard,
    GuardLine,
    HomeTerms,
    KeepTaken,
    KeepTask,
    KeptLog,
    KeptTold,
    ReadKept,
    ReadKeptLog,
    Relieve,
    TaskFound,
    TaskOrder,
    Vote,
)
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.market.messages import (
    AWARD_DOMAIN,
    Accept,
    Award,
    AwardTerms,
    Bid,
    BidKind,
    Decline,
    Release,
)
from swarmnode.market.messages import CallForBids as AskForBids
from swarmnode.tasks.checkpoint import CheckpointRecord
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.messages import (
    RECEIPT_DOMAIN,
    RESULT_DOMAIN,
    AskFiles,
    CancelJob,
    Checkpointed,
    FilesTold,
    LogTaken,
    Phase,
    PreemptNotice,
    PushLog,
    Query,
    ReceiptTerms,
    Renew,
    Result,
    ResultReceipt,
    ResultTerms,
    State,
)
from swarmnode.tasks.records import Outcome, TaskRecord
from swarmnode.tasks.spec import PriorityClass, Shape, TaskSpec
from testnet.sim.callers import machine_of
from testnet.sim.clock import START_MS
from testnet.sim.seeded import simulated
from testnet.sim.signer import KeyedHashSigner
from testnet.sim.world import NETWORK, World

MALLORY: Final = PeerId("mallory")
MATE: Final = machine_of(MALLORY, LabId("lab-0"), MemberId("mate"))
OTHER: Final = machine_of(MALLORY, LabId("elsewhere"), MemberId("other"))
FAR_MS: Final = START_MS + 30 * DAY_MS
SHAPE: Final = Shape(cpu_millis=1000, memory_bytes=1 << 30, disk_bytes=1 << 20)
DATA: Final = bytes(range(256)) * 100
HIGHEST: Final = Ballot((1 << 53) - 1, (1 << 53) - 1, MALLORY, 0)


@dataclass
class Scene:
    """What the victim has, and Mallory's machine."""

    world: World
    rpc: Rpc
    who: Caller
    signer: KeyedHashSigner
    receipt: PutReceipt
    manifest: Manifest
    task: TaskId
    bids: list[Bid] = field(default_factory=list)
    declined: list[Decline] = field(default_factory=list)

    @property
    def victim(self) -> PeerId:
        return self.world["m0"].peer

    @property
    def provider(self) -> PeerId:
        return self.world["m0"].up.market.task(self.task).record.provider

    @property
    def guardian(self) -> PeerId:
        return next(one.peer for one in self.world.machines.values() if one.peer != self.victim)

    @property
    def lease(self) -> LeaseId:
        return self.manifest.lease

    @property
    def fence(self) -> int:
        return self.world["m0"].up.market.task(self.task).record.fence

    def seal(self, domain: str, record: object) -> Signed:
        return seal(
            self.signer, NETWORK, domain, record, sequence=1 << 40, expires_ms=FAR_MS,  # type: ignore[arg-type]
        )  # fmt: skip

    async def ask(
        self, request: Message, reply: type[Message], body: bytes = b"", to: PeerId | None = None
    ) -> str | Message:
        """The reply, or the code of the refusal."""
        try:
            said, _ = await self.rpc.call(
                to or self.victim, request, reply,
                traffic_class=TrafficClass.NORMAL, timeout_s=5, body=body,
            )  # fmt: skip
        except RemoteRefusalError as error:
            return error.code
        return said

    async def tell(self, message: Message, to: PeerId | None = None) -> str:
        self.rpc.cast(to or self.victim, message)
        await trio.sleep(1)
        return "told"

    async def standing(self) -> tuple[object, ...]:
        """Everything of the victim's that a stranger might want to change."""
        kept = []
        for machine in self.world.machines.values():
            storage = machine.up.storage
            row = storage.leases.row(self.lease, self.receipt.cap.address)
            assert row is not None, f"{machine.name} gave the lease up"
            holding = storage.holders.get(self.receipt.cap.address)
            assert holding is not None
            kept.append((row.owner, row.lab, row.is_hold, holding.sequence, holding.peers()))
        node = self.world["m0"].up
        record = node.market.task(self.task).record
        members = [(x.peer, x.name, x.lab) for x in node.membership.view().alive()]
        jobs = sorted(job.job for job in self.world.machines[self.host].executor.jobs())
        return (
            kept,
            await node.names.machine().read("secret"),
            (record.state, record.fence, record.provider, record.checkpoint),
            [one for one in members if one[0] != MALLORY],
            jobs,
            len(node.register.register.removals.keys()),
        )

    @property
    def host(self) -> str:
        """The name of the machine that runs the task."""
        peer = self.provider
        return next(name for name, one in self.world.machines.items() if one.peer == peer)


Act = Callable[[Scene], Awaitable[object]]
ROWS: dict[str, tuple[Act, object, object]] = {}
"""By name: what Mallory does, and what comes of it when she is of the lab, and of another."""


def row(mate: object, other: object | None = None) -> Callable[[Act], Act]:
    def add(act: Act) -> Act:
        ROWS[act.__name__] = (act, mate, mate if other is None else other)
        return act

    return add


def terms(scene: Scene, lease: LeaseId, *, owner: str | None = None) -> m.LeaseTerms:
    whose = scene.who.member if owner is None else owner
    return m.LeaseTerms(lease, MemberId(whose), scene.who.lab, 1, FAR_MS, True)


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
        1, 1000, 4096, 1, 1, 1, scene.lease, scene.who.member, scene.who.lab, 1, 0,
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


def ordered(
    scene: Scene, key: str, lease: LeaseId, expires_ms: int = FAR_MS, *, is_whole: bool = False
) -> m.DropLease:
    """As the key of a lab would have it."""
    signer, order = KeyedHashSigner(PeerId(key), scene.world.seed), m.DropOrder(lease)
    stone = Tombstone(scene.lease, scene.receipt.cap.address, b"", START_MS, "mine")
    sealed = seal(signer, NETWORK, m.DROP_DOMAIN, order, sequence=0, expires_ms=expires_ms)
    along = seal(signer, NETWORK, STONE_DOMAIN, stone, sequence=0, expires_ms=0)
    return m.DropLease(scene.lease, sealed, along if is_whole else None)


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


@row("told")
async def award_of_anothers_task(scene: Scene) -> object:
    ask = AskForBids(1, SHAPE, "", (), PriorityClass.BATCH, 5, 3000)
    await scene.tell(ask, scene.provider)
    assert scene.bids, "no room was held for her"
    for bid in scene.bids:
        spec = TaskSpec(("true",), shape=SHAPE)
        what = AwardTerms(scene.task, 1 << 50, scene.provider, bid.bid, spec)
        await scene.tell(Award(scene.seal(AWARD_DOMAIN, what)), scene.provider)
    assert [one.reason for one in scene.declined] == ["stale"] * len(scene.bids)
    return "told"


@row("told")
async def release_of_anothers_room(scene: Scene) -> object:
    return await scene.tell(Release(1), scene.provider)


def as_buyer(message: Callable[[Scene], Message]) -> Act:
    async def act(scene: Scene) -> object:
        return await scene.tell(message(scene), scene.provider)

    return act


def as_seller(message: Callable[[Scene], Message]) -> Act:
    async def act(scene: Scene) -> object:
        return await scene.tell(message(scene))

    return act


_DONE = Outcome("done", 0, "exit")
_STEP = CheckpointRecord(99, (), START_MS)
_SAID: dict[str, Act] = {
    "cancel": as_buyer(lambda s: CancelJob(s.task, s.fence, "mine")),
    "cancel of a newer attempt": as_buyer(lambda s: CancelJob(s.task, s.fence + 9, "mine")),
    "renew": as_buyer(lambda s: Renew(s.task, s.fence, 99)),
    "query": as_buyer(lambda s: Query(s.task, s.fence)),
    "receipt": as_buyer(
        lambda s: ResultReceipt(s.seal(RECEIPT_DOMAIN, ReceiptTerms(s.task, s.fence, s.provider)))
    ),
    "bid": as_seller(lambda s: Bid(1, 1, BidKind.HELD, hold_ms=3000)),
    "accept": as_seller(lambda s: Accept(s.task, s.fence)),
    "decline": as_seller(lambda s: Decline(s.task, s.fence, "stale")),
    "result": as_seller(
        lambda s: Result(s.seal(RESULT_DOMAIN, ResultTerms(s.task, s.fence, s.victim, _DONE)))
    ),
    "state": as_seller(lambda s: State(s.task, s.fence, Phase.UNKNOWN)),
    "notice": as_seller(lambda s: PreemptNotice(s.task, s.fence, 1)),
    "beat of a higher term": as_seller(
        lambda s: GuardBeat(1, (GuardLine(s.task, 1 << 60, 1), GuardLine(s.task, 99, 1)))
    ),
    "answer of a higher term": as_seller(
        lambda s: GuardHeard(0, (GuardLine(s.task, 1 << 60, 1), GuardLine(s.task, 99, 1)))
    ),
    "call for votes": as_seller(lambda s: AskVote(s.task, 99, 99, 99)),
    "vote": as_seller(lambda s: Vote(s.task, 99, granted=False, known_term=99)),
    "relief": as_seller(lambda s: Relieve(s.task, is_over=True)),
    "claim with another key": as_buyer(
        lambda s: Claim(s.seal(CLAIM_DOMAIN, ClaimTerms(s.task, s.fence, MALLORY, 99)))
    ),
    "homecoming with another key": as_seller(
        lambda s: ComeHome(s.seal(HOME_DOMAIN, HomeTerms(s.task, MALLORY)))
    ),
    "checkpoint": as_seller(lambda s: Checkpointed(s.task, s.fence, _STEP)),
}
for _name, _act in _SAID.items():
    ROWS[f"{_name} of anothers task"] = (_act, "told", "told")


@row("malformed")
async def keeping_a_task_without_its_key(scene: Scene) -> object:
    kept = TaskRecord(scene.task, TaskSpec(("true",)), START_MS, key=bytes(32))
    record = GuardRecord(scene.task, scene.victim, 99, 1, MALLORY, (MALLORY,), (), kept)
    return await scene.ask(KeepTask(scene.task), KeepTaken, encode(record))


@row("unknown")
async def log_that_a_guardian_keeps(scene: Scene) -> object:
    return await scene.ask(ReadKeptLog(scene.task, "stdout", 0, 0), KeptLog)


@row("unknown")
async def looking_at_anothers_task(scene: Scene) -> object:
    return await scene.ask(FindTask(scene.task), TaskFound)


@row("unknown")
async def reading_what_is_kept_for_anothers_machine(scene: Scene) -> object:
    return await scene.ask(ReadKept(scene.victim, TaskId("")), KeptTold, to=scene.guardian)


@row("unknown")
async def cancelling_anothers_task_at_its_submitter(scene: Scene) -> object:
    return await scene.ask(FindTask(scene.task, cancel=True), TaskFound)


@row("unknown")
async def cancelling_anothers_task_at_a_guardian(scene: Scene) -> object:
    return await scene.ask(FindTask(scene.task, cancel=True), TaskFound, to=scene.guardian)


def task_order(scene: Scene, key: str, machine: PeerId, expires_ms: int = FAR_MS) -> FindTask:
    """As the key of a lab would have it."""
    signer = KeyedHashSigner(PeerId(key), scene.world.seed)
    terms = TaskOrder(scene.task, machine, "mine")
    sealed = seal(signer, NETWORK, TASK_ORDER_DOMAIN, terms, sequence=0, expires_ms=expires_ms)
    return FindTask(scene.task, cancel=True, order=sealed)


@row("unknown")
async def cancelling_by_the_key_of_another_lab(scene: Scene) -> object:
    return await scene.ask(task_order(scene, "elsewhere", MALLORY), TaskFound)


@row("not-yours")
async def cancelling_by_an_order_given_to_another(scene: Scene) -> object:
    return await scene.ask(task_order(scene, "lab-0", scene.guardian), TaskFound)


@row("not-yours")
async def cancelling_by_an_order_that_has_expired(scene: Scene) -> object:
    late = task_order(scene, "lab-0", MALLORY, START_MS - 600_000)
    return await scene.ask(late, TaskFound)


@row("malformed")
async def cancelling_by_an_order_that_somebody_else_signed(scene: Scene) -> object:
    real = task_order(scene, "lab-0", MALLORY)
    assert real.order is not None
    forged = replace(real.order, signature=bytes(len(real.order.signature)))
    return await scene.ask(replace(real, order=forged), TaskFound)


@row("stale")
async def log_of_anothers_task(scene: Scene) -> object:
    return await scene.ask(PushLog(scene.task, scene.fence, "stdout", 0), LogTaken, b"lies")


@row("unknown")
async def files_of_anothers_task(scene: Scene) -> object:
    return await scene.ask(AskFiles(scene.task, scene.fence), FilesTold, to=scene.provider)


@row("EchoReply")
async def echo(scene: Scene) -> object:
    return await scene.ask(EchoRequest(), EchoReply)


@row("told")
async def presence_that_claims_anothers_name_and_lab(scene: Scene) -> object:
    said = Presence((), "m1", LabId("lab-0"), "", False, 1, b"token of mallory")
    return await scene.tell(Spread(News((scene.seal(PRESENCE_DOMAIN, said),))))


@row("told")
async def presence_with_anothers_token(scene: Scene) -> object:
    said = Presence((), "m1", LabId("lab-0"), "", False, 1, b"token of peer-m1")
    return await scene.tell(Spread(News((scene.seal(PRESENCE_DOMAIN, said),))))


@row("told")
async def presence_signed_for_another(scene: Scene) -> object:
    said = scene.seal(PRESENCE_DOMAIN, Presence((), "x", LabId("x"), ""))
    return await scene.tell(Spread(News((replace(said, sender=PeerId("peer-m1")),))))


@row("told")
async def hearsay_of_a_death(scene: Scene) -> object:
    doubt = Opinion(PeerId("peer-m1"), 1 << 50, 2, MALLORY)
    return await scene.tell(Spread(News((), (doubt,))))


@row("told")
async def gossip_in_anothers_name(scene: Scene) -> object:
    said = scene.seal(DOMAINS[STORAGE], ItemFact(60_000, b""))
    lie = replace(said, sender=PeerId("peer-m1"), expires_ms=START_MS + 120_000)
    return await scene.tell(Push(3, (Carried(60_000, lie),)))


@row("told")
async def asking_for_gossip(scene: Scene) -> object:
    await scene.tell(Digest(0, (1 << 64) - 1, b""))
    return await scene.tell(Want(bytes(8)))


@row("told")
async def removal_by_one_without_the_right(scene: Scene) -> object:
    await scene.tell(Held(bytes(16)))
    return await scene.tell(Entries((scene.seal("swarm/removal", m.DropOrder(scene.lease)),)))


@row("unknown")
async def renewal_of_certificates_where_there_are_none(scene: Scene) -> object:
    return await scene.ask(RenewRequest(b"", False), EchoReply)


async def chunks() -> AsyncIterator[bytes]:
    await trio.lowlevel.checkpoint()
    yield DATA


def answers(kind: object, came: object) -> bool:
    return type(came).__name__ == kind or came == kind


@asynccontextmanager
async def scene_with(who: Caller) -> AsyncIterator[Scene]:
    world = World(1, ["m0", "m1"], labs=1)
    async with world.running():
        await trio.sleep(20)
        node = world["m0"].up
        receipt = await node.objects.put(chunks(), name="precious")
        data = node.storage.leases.manifest(receipt.cap.address)
        assert data is not None
        manifest = read_manifest(receipt.cap.address, data)
        await node.names.machine().write("secret", b"v", expected=0, fence=0)
        task = await node.market.submit(TaskSpec(("sleep", "100000"), shape=SHAPE))
        await trio.sleep(20)
        assert node.market.task(task).record.state is TaskState.RUNNING
        host = MemoryHost(world.network, MALLORY, who)
        for machine in world.machines.values():
            host.learn(machine.peer, [memory_address(machine.peer)])
        rpc = Rpc(host)
        async with trio.open_nursery() as nursery:
            await nursery.start(rpc.run)
            await nursery.start(host.run)
            signer = KeyedHashSigner(MALLORY, world.seed)
            scene = Scene(world, rpc, who, signer, receipt, manifest, task)
            rpc.listen(Bid, lambda _, bid: scene.bids.append(bid))
            rpc.listen(Decline, lambda _, no: scene.declined.append(no))
            yield scene
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("who", [MATE, OTHER], ids=["of the lab", "of another lab"])
@simulated
async def test_a_member_changes_nothing_of_anothers(who: Caller) -> None:
    async with scene_with(who) as scene:
        before = await scene.standing()
        for name, (act, mate, other) in ROWS.items():
            came = await act(scene)
            assert answers(mate if who is MATE else other, came), f"{name}: {came}"
            assert await scene.standing() == before, name
        await trio.sleep(120)  # nor later
        assert await scene.standing() == before
        node = scene.world["m0"].up
        assert await node.names.machine().read("secret") == NameValue(1, 0, b"v")
        await node.names.machine().write("secret", b"w", expected=1, fence=0)
        assert b"".join([part async for part in node.objects.get(scene.receipt.cap)]) == DATA
        assert await node.objects.forget(scene.receipt.cap.address)
        assert (await node.market.cancel(scene.task)).record.state is TaskState.CANCELLED


@pytest.mark.parametrize("who", [MATE, OTHER], ids=["of the lab", "of another lab"])
@simulated
async def test_anybody_may_bring_the_order_of_the_labs_key(who: Caller) -> None:
    async with scene_with(who) as scene:
        whole = ordered(scene, "lab-0", scene.lease, is_whole=True)
        came = await scene.ask(whole, m.LeaseDropped)
        assert isinstance(came, m.LeaseDropped)
        node = scene.world["m0"].up
        assert node.storage.leases.row(scene.lease) is None
        assert node.storage.tombstones.of([scene.lease])
        (entry,) = node.objects.entries()
        assert entry.removed_why == "mine"


# -- those who have no connection


def key(name: str) -> KeySigner:
    return KeySigner.from_seed(name.encode().ljust(32, b"."))


ROOT, ALICE = key("network"), key("alice")
ANCHOR = Anchor(network_id_of(ROOT.peer_id), ROOT.peer_id)
ALICES = found(
    ANCHOR, Keys(ALICE, key("ann"), key("physics"), ROOT), Names("a", "ann", "p"), START_MS
)


def outsider(kind: str) -> AdmissionError:
    """What our door says to such a machine, by its real certificates."""
    door = TokenAdmission(ALICE, ALICES, ANCHOR, lambda: START_MS)
    token, now_ms, revoked = ALICES, START_MS, frozenset[str]()
    match kind:
        case "another network":
            root = key("elsewhere")
            anchor = Anchor(network_id_of(root.peer_id), root.peer_id)
            keys = Keys(ALICE, key("ann"), key("physics"), root)
            token = found(anchor, keys, Names("a", "ann", "p"), START_MS)
        case "expired":
            now_ms += 4000 * DAY_MS
        case _:
            revoked = frozenset({key("ann").peer_id})
    with pytest.raises(AdmissionError) as caught:
        _check(door, token, now_ms, revoked)
    return caught.value


def _check(
    door: TokenAdmission, token: MembershipToken, now_ms: int, revoked: frozenset[str]
) -> None:
    check_token(token, ALICE.peer_id, door.anchor, ALICE, Clocks(now_ms), revoked)


@pytest.mark.parametrize(
    ("kind", "code"),
    [("another network", "network"), ("expired", "expired"), ("removed", "revoked")],
)
@simulated
async def test_a_machine_that_is_no_member_reaches_nobody(kind: str, code: str) -> None:
    said = outsider(kind)
    assert said.code == code

    def admit(caller: PeerId, callee: PeerId) -> None:
        if MALLORY in (caller, callee):
            raise said

    world = World(1, ["m0"], admit=admit)
    async with world.running(), trio.open_nursery() as nursery:
        victim = world["m0"].peer
        host = MemoryHost(world.network, MALLORY, MATE)
        host.learn(victim, [memory_address(victim)])
        rpc = Rpc(host)
        await nursery.start(rpc.run)
        await nursery.start(host.run)
        frames = world.network.frames_delivered
        for request, reply in ((EchoRequest(), EchoReply), (NameRead(bytes(32)), NameHeld)):
            with pytest.raises(PeerUnreachableError):
                await rpc.call(
                    victim, request, reply, traffic_class=TrafficClass.NORMAL, timeout_s=5
                )
        rpc.cast(victim, Spread(News()))
        await trio.sleep(5)
        assert world.network.frames_delivered == frames
        nursery.cancel_scope.cancel()
