"""Finding the swarm: dial what is known until at least one member answers, and again when alone.

Sources, all at once: addresses of the invite or config, peers remembered from earlier runs, the
Kademlia index. Two answers are enough; after that membership spreads by itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import trio

from p2p.errors import DialError
from p2p.host.port import Host, Index
from p2p.ids import NetworkId, PeerId
from p2p.membership.view import Liveness, MemberChanged, View

ANSWERS_WANTED = 2
ROUND_S = 10.0
RETRY_FIRST_S = 0.5
RETRY_MAX_S = 30.0
CACHED_PEERS_MAX = 64
INDEX_EVERY_S = 300.0


class PeerCache(Protocol):
    """Remembers peers across restarts; node.py hands one over the state tables."""

    def load(self) -> Mapping[PeerId, tuple[str, ...]]: ...

    async def save(self, peer: PeerId, addresses: tuple[str, ...]) -> None: ...


class Members(Protocol):
    """The part of the membership service that discovery needs."""

    def view(self) -> View: ...

    def on_change(self, listener: Callable[[MemberChanged], None]) -> None: ...

    async def join(self, peer: PeerId) -> None: ...


@dataclass(frozen=True, slots=True)
class JoinStatus:
    """How far joining has come: `step` is alone, dialling, joined or retrying."""

    step: str
    tried: int = 0
    failures: tuple[tuple[str, str, str], ...] = ()
    """(address, cause, detail) of the last round."""


@dataclass(slots=True)
class DiscoveryService:
    """Joins at start and rejoins whenever nobody else is alive."""

    host: Host
    index: Index
    members: Members
    cache: PeerCache
    network: NetworkId
    seeds: Sequence[str]
    status: JoinStatus = field(default_factory=lambda: JoinStatus("alone"))
    _changed: trio.Event = field(default_factory=trio.Event)
    _dirty: dict[PeerId, tuple[str, ...]] = field(default_factory=dict)
    _extra: list[str] = field(default_factory=list)

    @property
    def expects_others(self) -> bool:
        """False on a first node: nobody to dial, so alone is ready."""
        return bool(self.seeds or self._extra or self.cache.load())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep us in the swarm until cancelled."""
        self.members.on_change(self._on_change)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._remember_forever)
            nursery.start_soon(self._announce_forever)
            task_status.started()
            await self._join_forever()

    async def join_through(self, address: str) -> PeerId:
        """Dial one address now and exchange views with it. Raises DialError."""
        peer = await self.host.dial(address)
        self._extra.append(address)
        await self.members.join(peer)
        self.status = JoinStatus("joined")
        return peer

    def _is_alone(self) -> bool:
        view = self.members.view()
        return not any(m.peer != view.me for m in view.alive())

    async def _join_forever(self) -> None:
        pause_s = RETRY_FIRST_S
        while True:
            if not self._is_alone():
                pause_s = RETRY_FIRST_S
                self.status = JoinStatus("joined")
                await self._changed.wait()
                self._changed = trio.Event()
                continue
            addresses = await self._candidates()
            if addresses:
                await self._dial_all(addresses)
            if self._is_alone():
                with trio.move_on_after(pause_s):
                    await self._changed.wait()
                pause_s = min(2 * pause_s, RETRY_MAX_S)

    async def _candidates(self) -> list[str]:
        found = [*self.seeds, *self._extra]
        for addresses in self.cache.load().values():
            found += addresses
        if not found:
            return []
        for peer, addresses in await self._indexed():
            if peer != self.host.peer_id:
                found += addresses
        own = set(self.host.addresses())
        return [a for a in dict.fromkeys(found) if a not in own]

    async def _indexed(self) -> list[tuple[PeerId, tuple[str, ...]]]:
        found: list[tuple[PeerId, tuple[str, ...]]] = []
        with trio.move_on_after(1.0):
            found = await self.index.find(self.network.encode(), 8)
        return found

    async def _dial_all(self, addresses: Sequence[str]) -> None:
        self.status = JoinStatus("dialling", len(addresses), self.status.failures)
        failures: list[tuple[str, str, str]] = []
        answers: list[PeerId] = []
        with trio.move_on_after(ROUND_S) as round_scope:
            async with trio.open_nursery() as nursery:

                async def try_one(address: str) -> None:
                    try:
                        peer = await self.host.dial(address)
                    except DialError as error:
                        failures.append((address, error.cause, error.detail))
                        return
                    await self.members.join(peer)
                    answers.append(peer)
                    if len(answers) >= ANSWERS_WANTED:
                        round_scope.cancel()

                for address in addresses:
                    nursery.start_soon(try_one, address)
        step = "joined" if answers else "retrying"
        self.status = JoinStatus(step, len(addresses), tuple(failures))

    def _on_change(self, change: MemberChanged) -> None:
        member = change.member
        if member.liveness is Liveness.ALIVE and member.peer != self.host.peer_id:
            self.host.learn(member.peer, member.addresses)
            if len(self._dirty) < CACHED_PEERS_MAX:
                self._dirty[member.peer] = member.addresses
        self._changed.set()

    async def _remember_forever(self) -> None:
        while True:
            await trio.sleep(1.0)
            while self._dirty:
                peer, addresses = self._dirty.popitem()
                await self.cache.save(peer, addresses)

    async def _announce_forever(self) -> None:
        while True:
            with trio.move_on_after(ROUND_S):
                await self.index.announce(self.network.encode())
            await trio.sleep(INDEX_EVERY_S)
