"""Runs the membership core over Rpc: who is alive, for everybody else in the node."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, assert_never

import trio

from p2p.effects import Rng
from p2p.errors import PeerUnreachableError
from p2p.host.rpc.service import Rpc
from p2p.identity.caller import Caller
from p2p.identity.proofs import token_for_presence
from p2p.ids import PeerId
from p2p.membership import events as e
from p2p.membership.config import MembershipConfig
from p2p.membership.core import Membership
from p2p.membership.messages import (
    Ack,
    MembershipMessage,
    Nack,
    Ping,
    PingRequest,
    Spread,
    SyncOffer,
    SyncPage,
)
from p2p.membership.ourselves import Ourselves
from p2p.membership.view import MemberChanged, View
from p2p.service import Driver, Performer, persist_nothing

JOIN_S: Final = 5.0
"""A joined peer answers within a few round trips; after this long it will not."""

JOIN_AGAIN_S: Final = 1.0
"""An unanswered offer is repeated: casts may be lost."""

FAREWELL_S: Final = 1.0
"""How long a leaving node waits for somebody to take note."""

ADDRESSES_EVERY_S: Final = 2.0
"""How often we look whether our own addresses, or our certificates, have changed: others know
within 10 s."""

_KINDS: Final[tuple[type[MembershipMessage], ...]] = (
    Ping,
    Ack,
    PingRequest,
    Nack,
    Spread,
    SyncOffer,
    SyncPage,
)


class MembershipService:
    """This node's membership in the swarm."""

    def __init__(
        self,
        config: MembershipConfig,
        rpc: Rpc,
        who: Ourselves,
        *,
        addresses: Callable[[], tuple[str, ...]],
        rng: Rng,
        incarnation: int,
    ) -> None:
        """`addresses` is asked once running and now and then; `incarnation` is wall-clock ms."""
        self._core = Membership(config, who, rng, incarnation)
        self._addresses, self._proofs = addresses, who.proofs
        self._told: tuple[tuple[str, ...], bytes] | None = None
        """Addresses and token as the core last heard of them; None before `run`."""
        performer = Performer(rpc.send, self._notify, persist_nothing)
        self._driver = Driver(self._core, performer)
        self._listeners: list[Callable[[MemberChanged], None]] = []
        self._joining: dict[PeerId, list[trio.Event]] = {}
        """By peer: an event for each `join` that waits for its whole view."""
        self._farewell_heard = trio.Event()
        """Set once somebody has taken note; a new one with each `leave`."""
        for kind in _KINDS:
            rpc.listen(kind, self._on_message)
        rpc.on_peer(self._on_peer)

    def view(self) -> View:
        """Everybody we know, ourselves included; the same object until something changes."""
        return self._core.view()

    def twins(self) -> Mapping[PeerId, tuple[str, ...]]:
        """Keys with which two machines run, ours included, and the addresses of the two."""
        return self._core.twins(trio.current_time())

    def on_change(self, listener: Callable[[MemberChanged], None]) -> None:
        """Be told of every new, changed, suspect, dead or gone member; must not block."""
        self._listeners.append(listener)

    async def join(self, peer: PeerId) -> None:
        """Exchange views with a peer that can be reached.

        Raises PeerUnreachableError when it does not answer within JOIN_S.
        """
        answered = trio.Event()
        waiting = self._joining.setdefault(peer, [])
        waiting.append(answered)
        try:
            with trio.move_on_after(JOIN_S):
                while not answered.is_set():
                    await self._driver.do(e.Join(peer))
                    with trio.move_on_after(JOIN_AGAIN_S):
                        await answered.wait()
        finally:
            waiting.remove(answered)
            if not waiting:
                self._joining.pop(peer, None)
        if not answered.is_set():
            raise PeerUnreachableError(peer, "it did not tell us who is in the swarm")

    def expel(self, peers: Iterable[PeerId]) -> None:
        """These machines, and no others, count as gone from now on, whatever is said of them."""
        self._driver.order(e.Expelled(frozenset(peers)))

    async def leave(self) -> None:
        """Say goodbye; returns once somebody took note, or nobody does within FAREWELL_S.

        Leave the services below running meanwhile. `join` brings us back.
        """
        self._farewell_heard = trio.Event()
        await self._driver.do(e.Leave())
        if len(self.view().alive()) > 0:
            with trio.move_on_after(FAREWELL_S):
                await self._farewell_heard.wait()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Probe and listen until cancelled; start it when the host knows its addresses."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._driver.run)
            self._told = (self._addresses(), self._token())
            await self._driver.do(e.MembershipBegan(self._told[0]))
            task_status.started()
            while True:
                await trio.sleep(ADDRESSES_EVERY_S)
                self._look_at_ourselves()

    def _look_at_ourselves(self) -> None:
        now = (self._addresses(), self._token())
        if self._told not in (None, now):
            self._told = now
            self._driver.order(e.Readdressed(now[0]))

    @property
    def refused(self) -> int:
        """Presences with a wrong signature or content, since the start."""
        return self._core.refused

    @property
    def throttled(self) -> int:
        """Presences dropped because the peer that brought them brought too many."""
        return self._core.throttled

    @property
    def dropped(self) -> int:
        """Messages dropped because too many were waiting, since the start."""
        return self._driver.dropped

    def _token(self) -> bytes:
        return token_for_presence(self._proofs)

    def _on_message(self, caller: Caller, message: MembershipMessage) -> None:
        self._driver.post(e.MembershipHeard(caller.peer, message))

    def _on_peer(self, peer: PeerId, is_up: bool) -> None:
        if is_up:
            self._look_at_ourselves()  # what we say to the first from elsewhere is without loopback
        self._driver.post(e.PeerUp(peer) if is_up else e.PeerDown(peer))

    def _notify(self, event: e.Notice) -> None:
        match event:
            case MemberChanged():
                for listener in self._listeners:
                    listener(event)
            case e.Joined(peer):
                for answered in self._joining.get(peer, ()):
                    answered.set()
            case e.FarewellHeard():
                self._farewell_heard.set()
            case _:
                assert_never(event)
