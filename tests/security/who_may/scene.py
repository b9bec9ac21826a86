"""A node with an object, a name and a running task; beside it Mallory, who knows every id there is.

She is a member of the same lab, or of another one. `row` notes what she does and what comes of it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

from p2p.errors import RemoteRefusalError
from p2p.host.memory.host import MemoryHost, memory_address
from p2p.host.rpc.service import Rpc
from p2p.identity.caller import Caller
from p2p.identity.issue import DAY_MS
from p2p.ids import LabId, PeerId, PersonId, TrafficClass
from p2p.wire.codec import Message
from p2p.wire.envelope import Signed, seal
from storage import messages as m
from storage.facade import PutReceipt
from storage.holder.tombstones import DOMAIN as STONE_DOMAIN
from storage.holder.tombstones import Tombstone
from storage.ids import LeaseId
from storage.manifests.manifest import Manifest, read_manifest
from storage.records.names.messages import (
    Ballot,
)
from swarmnode.market.messages import (
    Bid,
    Decline,
)
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.spec import Shape, TaskSpec
from testnet.sim.callers import machine_of
from testnet.sim.clock import START_MS
from testnet.sim.signer import KeyedHashSigner
from testnet.sim.world import NETWORK, World

MALLORY: Final = PeerId("mallory")
MATE: Final = machine_of(MALLORY, LabId("lab-0"), PersonId("mate"))
OTHER: Final = machine_of(MALLORY, LabId("elsewhere"), PersonId("other"))
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
        return self.world["m0"].up.market.buyer.task(self.task).record.provider

    @property
    def guardian(self) -> PeerId:
        return next(one.peer for one in self.world.machines.values() if one.peer != self.victim)

    @property
    def lease(self) -> LeaseId:
        return self.manifest.lease

    @property
    def fence(self) -> int:
        return self.world["m0"].up.market.buyer.task(self.task).record.fence

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
        record = node.market.buyer.task(self.task).record
        members = [(x.peer, x.name, x.lab) for x in node.peers.membership.view().alive()]
        jobs = sorted(job.job for job in self.world.machines[self.host].executor.jobs())
        return (
            kept,
            await node.storage.names.machine().read("secret"),
            (record.state, record.fence, record.provider, record.checkpoint),
            [one for one in members if one[0] != MALLORY],
            jobs,
            len(node.peers.register.register.removals.keys()),
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
    whose = scene.who.person if owner is None else owner
    return m.LeaseTerms(lease, PersonId(whose), scene.who.lab, 1, FAR_MS, True)


def ordered(
    scene: Scene, key: str, lease: LeaseId, expires_ms: int = FAR_MS, *, is_whole: bool = False
) -> m.DropLease:
    """As the key of a lab would have it."""
    signer, order = KeyedHashSigner(PeerId(key), scene.world.seed), m.DropOrder(lease)
    stone = Tombstone(scene.lease, scene.receipt.cap.address, b"", START_MS, "mine")
    sealed = seal(signer, NETWORK, m.DROP_DOMAIN, order, sequence=0, expires_ms=expires_ms)
    along = seal(signer, NETWORK, STONE_DOMAIN, stone, sequence=0, expires_ms=0)
    return m.DropLease(scene.lease, sealed, along if is_whole else None)


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
        receipt = await node.storage.objects.put(chunks(), name="precious")
        data = node.storage.leases.manifest(receipt.cap.address)
        assert data is not None
        manifest = read_manifest(receipt.cap.address, data)
        await node.storage.names.machine().write("secret", b"v", expected=0, fence=0)
        spec = TaskSpec(("sleep", "100000"), shape=SHAPE, secrets=(("hf", "HF_TOKEN"),))
        task = await node.market.buyer.submit(spec, secrets={"hf": b"known to its provider"})
        await trio.sleep(20)
        assert node.market.buyer.task(task).record.state is TaskState.RUNNING
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
