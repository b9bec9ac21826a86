"""Runs the gossip core over Rpc: everybody's newest signed words, for the rest of the node."""

from collections.abc import Callable, Mapping
from typing import Final

import trio

from p2p.effects import Rng
from p2p.gossip import events as e
from p2p.gossip.config import GossipConfig
from p2p.gossip.core import Gossip
from p2p.gossip.items import Item
from p2p.gossip.messages import DOMAINS, Digest, GossipMessage, Push, Want
from p2p.host.rpc.service import Rpc
from p2p.identity.caller import Caller
from p2p.ids import NetworkId, PeerId
from p2p.limits import GOSSIP_BODY_BYTES_MAX, GOSSIP_TTL_S_MAX
from p2p.membership.port import Members
from p2p.membership.view import Liveness, MemberChanged
from p2p.service import Driver, Performer, persist_nothing
from p2p.wire.envelope import Signer

_KINDS: Final[tuple[type[GossipMessage], ...]] = (Push, Digest, Want)


class GossipService:
    """This node's table of everybody's items."""

    def __init__(
        self,
        config: GossipConfig,
        rpc: Rpc,
        members: Members,
        signer: Signer,
        network: NetworkId,
        *,
        rng: Rng,
        wall_ms: Callable[[], int],
    ) -> None:
        self._core = Gossip(config, signer, network, members.view, rng, wall_ms)
        self._me = rpc.peer_id
        self._driver = Driver(self._core, Performer(rpc.send, self._notify, persist_nothing))
        self._listeners: dict[int, list[Callable[[Item], None]]] = {}
        for kind in _KINDS:
            rpc.listen(kind, self._on_message)
        members.on_change(self._on_change)

    def publish(self, kind: int, body: bytes, *, ttl_s: float) -> None:
        """Tell everybody; replaces our earlier item of that kind. Publish again before it ends.

        Raises ValueError for a kind, body or life out of bounds. Works before `run`, too.
        """
        if kind not in DOMAINS:
            raise ValueError(f"no kind {kind}: there are 1 to {len(DOMAINS)}")
        if len(body) > GOSSIP_BODY_BYTES_MAX:
            raise ValueError(f"body of {len(body)} bytes, limit {GOSSIP_BODY_BYTES_MAX}")
        if not 0.001 <= ttl_s <= GOSSIP_TTL_S_MAX:
            raise ValueError(f"ttl_s must be in [0.001, {GOSSIP_TTL_S_MAX:.0f}], not {ttl_s}")
        self._driver.order(e.Publish(kind, body, ttl_s))

    def items(self, kind: int) -> Mapping[PeerId, Item]:
        """Live, verified items of members not known to be gone, ours included, by origin."""
        return self._core.items(kind, trio.current_time())

    def on_item(self, kind: int, listener: Callable[[Item], None]) -> None:
        """Call for every new item of a kind, ours included; must not block."""
        self._listeners.setdefault(kind, []).append(listener)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Spread and reconcile until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._driver.run)
            await self._driver.do(e.GossipBegan())
            task_status.started()

    @property
    def refused(self) -> int:
        """Items and messages with a wrong signature, content or time, since the start."""
        return self._core.refused

    @property
    def throttled(self) -> int:
        """Items dropped because the peer that brought them brought too many, since the start."""
        return self._core.throttled

    @property
    def dropped(self) -> int:
        """Messages dropped because too many were waiting, since the start."""
        return self._driver.dropped

    def _on_message(self, caller: Caller, message: GossipMessage) -> None:
        self._driver.post(e.GossipHeard(caller.peer, message))

    def _on_change(self, change: MemberChanged) -> None:
        is_up = change.member.liveness is Liveness.ALIVE
        was_up = change.before in (Liveness.ALIVE, Liveness.SUSPECT)
        if is_up and not was_up and change.member.peer != self._me:
            self._driver.post(e.MemberUp(change.member.peer))

    def _notify(self, news: e.Accepted) -> None:
        for listener in self._listeners.get(news.item.kind, ()):
            listener(news.item)
