"""Finding the swarm: dial what is known until at least one member answers, and again when alone.

Sources, all at once: addresses of the invite or config, peers remembered from earlier runs, the
Kademlia index. Two answers are enough; after that membership spreads by itself.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec
import trio

from p2p.discovery.rounds import ROUND_S, DialRound, JoinStatus, too_slow
from p2p.errors import DialError, PeerUnreachableError
from p2p.host.port import Host, Index
from p2p.ids import NetworkId, PeerId
from p2p.membership.port import Members
from p2p.membership.view import Liveness, MemberChanged

RETRY_FIRST_S: Final = 0.5
RETRY_MAX_S: Final = 30.0
"""Pauses between rounds double up to this: a swarm that comes back is found within a minute."""

INDEX_S: Final = 1.0
"""The index is a hint: nobody waits longer for it."""

INDEX_EVERY_S: Final = 300.0
"""We are announced this often; records in the index live for hours."""

SEEDS_FIRST_S: Final = 2.0
"""So soon after the start those that are no members are tried: machines that start together, as
after a power cut, may each find another one before the seed listens, and be two swarms."""

SEEDS_EVERY_S: Final = 60.0
"""The pauses between these tries double up to this: one network never stays two swarms."""

CACHED_PEERS_MAX: Final = 64
"""Peers remembered across restarts: some of so many will be up."""

DIALS_MAX: Final = 64
"""Addresses dialled in one round; further ones have their turn in the next."""

REMEMBER_EVERY_S: Final = 1.0
"""Changed addresses are saved together: a joining swarm changes many at once."""


class PeerCache(Protocol):
    """Remembers peers across restarts; node.py hands one over the state tables."""

    def load(self) -> Mapping[PeerId, tuple[str, ...]]: ...

    async def save(self, peer: PeerId, addresses: tuple[str, ...]) -> None: ...


class JoinedMembers(Members, Protocol):
    """Membership, and how to come into it."""

    async def join(self, peer: PeerId) -> None: ...


class DiscoveryService(msgspec.Struct):
    """Joins at start and rejoins whenever nobody else is alive."""

    host: Host
    index: Index
    members: JoinedMembers
    cache: PeerCache
    network: NetworkId
    seeds: Sequence[str]
    """Addresses of the invite or the configuration."""
    status: JoinStatus = msgspec.field(default_factory=lambda: JoinStatus("alone"))
    _changed: trio.Event = msgspec.field(default_factory=trio.Event)
    """Set when another member has changed: we may be alone now, or no longer."""
    _dirty: dict[PeerId, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """Addresses that wait to be saved, by peer; at most CACHED_PEERS_MAX."""
    _to_remember: trio.Event = msgspec.field(default_factory=trio.Event)
    """Set while there are any."""
    _extra: list[str] = msgspec.field(default_factory=list)
    """Addresses joined by hand since the start: seeds from then on."""
    _rounds: int = 0
    """Rounds so far: of a long list each begins where the last one ended."""

    def __post_init__(self) -> None:
        """Listen from the start: whoever joins through us before we run is learnt too."""
        self.members.on_change(self._on_change)

    @property
    def expects_others(self) -> bool:
        """False on a first node: nobody to dial, so alone is ready."""
        return bool(self._known())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep us in the swarm until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._remember_forever)
            nursery.start_soon(self._announce_forever)
            task_status.started()
            await self._join_forever()

    async def join_through(self, address: str) -> PeerId:
        """Dial one address now and exchange views with it, within 10 s; later it is a seed.

        Raises DialError.
        """
        peer: PeerId | None = None
        with trio.move_on_after(ROUND_S):
            peer = await self._reach(address)
        if peer is None:
            raise too_slow(address)
        if address not in self._extra:
            self._extra.append(address)
        self.status = JoinStatus("joined")
        return peer

    # -- joining

    def _is_alone(self) -> bool:
        view = self.members.view()
        return not any(m.peer != view.me for m in view.alive())

    async def _join_forever(self) -> None:
        pause_s, seeds_pause_s = RETRY_FIRST_S, SEEDS_FIRST_S
        seeds_due_s = trio.current_time() + seeds_pause_s
        while True:
            self._changed = trio.Event()
            if self._is_alone():
                await self._dial_all(await self._candidates())
            if self._is_alone():
                look_s, pause_s = trio.current_time() + pause_s, min(2 * pause_s, RETRY_MAX_S)
            else:
                look_s, pause_s = seeds_due_s, RETRY_FIRST_S
                self.status = JoinStatus("joined")
            with trio.move_on_at(look_s):
                await self._changed.wait()
            if trio.current_time() >= seeds_due_s:
                is_young = seeds_pause_s < SEEDS_EVERY_S
                seeds_pause_s = min(2 * seeds_pause_s, SEEDS_EVERY_S)
                seeds_due_s = trio.current_time() + seeds_pause_s
                await self._dial_all([] if self._is_alone() else self._absent(is_young))

    def _known(self) -> list[str]:
        """Addresses of the invite or config and of earlier runs, without our own."""
        cached = [address for addresses in self.cache.load().values() for address in addresses]
        return self._foreign([*self.seeds, *self._extra, *cached])

    def _foreign(self, addresses: Sequence[str]) -> list[str]:
        own, me = set(self.host.addresses()), f"/{self.host.peer_id}"
        return [a for a in dict.fromkeys(addresses) if a not in own and not a.endswith(me)]

    async def _candidates(self) -> list[str]:
        known = self._known()
        if not known:
            return []
        announced = [a for _, addresses in await self._indexed() for a in addresses]
        every = self._foreign([*known, *announced])
        start = self._rounds * DIALS_MAX % len(every) if len(every) > DIALS_MAX else 0
        self._rounds += 1
        return [*every[start:], *every[:start]][:DIALS_MAX]

    def _absent(self, is_young: bool) -> list[str]:
        """Seeds that name a peer which is no living member; soon after the start whoever else is
        remembered, too: a seed may have moved since."""
        ends = tuple(f"/{member.peer}" for member in self.members.view().alive())
        known = self._known() if is_young else self._foreign([*self.seeds, *self._extra])
        named = (address for address in known if "/p2p/" in address)
        return [address for address in named if not address.endswith(ends)][:DIALS_MAX]

    async def _indexed(self) -> list[tuple[PeerId, tuple[str, ...]]]:
        announced: list[tuple[PeerId, tuple[str, ...]]] = []
        with trio.move_on_after(INDEX_S):
            announced = await self.index.find(self.network.encode(), 8)
        return announced

    async def _dial_all(self, addresses: Sequence[str]) -> None:
        """One round; while we are alone `status` tells of it."""
        if addresses:
            show = self._show if self._is_alone() else _show_nobody
            await DialRound(addresses, self._reach, show).run()

    def _show(self, status: JoinStatus) -> None:
        self.status = status

    async def _reach(self, address: str, *others: str) -> PeerId:
        """Dial a peer at any of its addresses and exchange views. Raises DialError."""
        peer = await self.host.dial(address, *others)
        try:
            await self.members.join(peer)
        except PeerUnreachableError as error:
            raise DialError(address, "peer", error.why) from error
        return peer

    # -- what others should know of us, and we of them

    def _on_change(self, change: MemberChanged) -> None:
        member = change.member
        if member.peer == self.host.peer_id:
            return
        if member.liveness is Liveness.ALIVE:
            self.host.learn(member.peer, member.addresses)
            self.host.note_relay(member.peer, carries=member.relays)
            if len(self._dirty) < CACHED_PEERS_MAX:
                self._dirty[member.peer] = member.addresses
                self._to_remember.set()
        self._changed.set()

    async def _remember_forever(self) -> None:
        while True:
            await self._to_remember.wait()
            await trio.sleep(REMEMBER_EVERY_S)
            self._to_remember = trio.Event()
            while self._dirty:
                peer, addresses = self._dirty.popitem()
                await self.cache.save(peer, addresses)

    async def _announce_forever(self) -> None:
        while True:
            with trio.move_on_after(ROUND_S):
                await self.index.announce(self.network.encode())
            await trio.sleep(INDEX_EVERY_S)


def _show_nobody(_status: JoinStatus) -> None:
    """A round while others are alive changes nothing of what we are."""
