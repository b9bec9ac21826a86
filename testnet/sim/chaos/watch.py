"""Looks on: every frame into one hash, every message counted, every room within its capacity."""

from collections.abc import Mapping
from contextlib import aclosing
from functools import partial
from hashlib import blake2b
from typing import Final

import trio

from p2p.host.rpc.messages import Cast
from p2p.ids import PeerId, TrafficClass
from p2p.wire.codec import decode_as, number_in, number_of
from swarmnode.market.explain import EventsMissed
from swarmnode.market.messages import Decline
from swarmnode.node import Node
from swarmnode.tasks.messages import CancelJob
from testnet.sim.chaos.options import Outcome
from testnet.sim.chaos.work import Work
from testnet.sim.world import World

WATCH_EVERY_S: Final = 1.0
CAST_HEAD_BYTES: Final = 4
"""The array, its number, and type and length of a payload of less than 256 bytes."""
SMALL_CAST_BYTES: Final = 250
STALE: Final[Mapping[int, type[CancelJob] | type[Decline]]] = {
    number_of(CancelJob): CancelJob,
    number_of(Decline): Decline,
}
"""Small casts by which a machine learns that what it holds is no longer wanted."""


class Onlooker:
    """Invariants that must hold at every moment, and the trace."""

    def __init__(self, world: World, outcome: Outcome) -> None:
        self._world, self._outcome = world, outcome
        self._hash = blake2b(digest_size=16)
        world.network.trace = self._on_frame

    def digest(self) -> str:
        """Equal for two runs in which the same frames arrived at the same times."""
        return self._hash.hexdigest()

    def _on_frame(
        self, at_s: float, source: PeerId, to: PeerId, traffic_class: TrafficClass, frame: bytes
    ) -> None:
        self._hash.update(f"{at_s:.6f} {source} {to} {int(traffic_class)} ".encode())
        self._hash.update(frame)
        if len(frame) <= SMALL_CAST_BYTES and number_in(frame) == number_of(Cast):
            number = number_in(frame[CAST_HEAD_BYTES:])
            if number in STALE:
                self._note(decode_as(Cast, frame).payload, number)

    def _note(self, payload: bytes, number: int) -> None:
        reason = decode_as(STALE[number], payload).reason
        self._outcome.reached[f"{STALE[number].__name__}: {reason}"] += 1
        self._outcome.reached["fencing"] += reason == "stale"

    def count(self, name: str, node: Node) -> None:
        """Add up what a node has done, before it ends."""
        sold, reached = node.market.seller.lending.stats(), self._outcome.reached
        reached["repair"] += node.storage.stats().repair.repairs_done
        reached["holds expired"] += sold.holds_expired
        reached["leases expired"] += sold.leases_expired
        reached["expiry"] += sold.holds_expired + sold.leases_expired

    def follow(self, nursery: trio.Nursery, work: Work, name: str, node: Node) -> None:
        """Read the events of a node that has just started, for as long as it lives."""
        nursery.start_soon(partial(self._follow, work, name, node))

    async def _follow(self, work: Work, name: str, node: Node) -> None:
        async with aclosing(node.market.buyer.events()) as events:
            async for event in events:
                if not isinstance(event, EventsMissed):
                    self._hash.update(f"{trio.current_time():.6f} {name} {event.fact}".encode())
                    self._outcome.reached[event.fact] += 1
                    work.on_event(name, event)

    async def look_at_rooms(self) -> None:
        """R1: no machine has promised more than it has, at any time."""
        while True:
            await trio.sleep(WATCH_EVERY_S)
            for name, machine in self._world.machines.items():
                if machine.node is None:
                    continue
                stats = machine.node.market.seller.lending.stats()
                lent, taken = stats.capacity, stats.taken
                over = (
                    taken.cpu_millis > lent.cpu_millis
                    or taken.memory_bytes > lent.memory_bytes
                    or taken.disk_bytes > lent.disk_bytes
                    or len(set(taken.gpus)) != len(taken.gpus)
                )
                if over:
                    at_s = trio.current_time()
                    self._outcome.violations.append(f"R1 at {at_s:.1f} s: {name} has lent {taken}")
