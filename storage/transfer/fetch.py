"""Any k of the n shards of a segment, from whoever gives them soonest."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import TypeAlias

import msgspec
import trio
from blake3 import blake3

from p2p.ids import PeerId, TrafficClass
from storage.errors import HolderFailedError, ObjectDegradedError
from storage.ids import ShardRoot
from storage.limits import ASKED_AT_ONCE, ASKED_MAX
from storage.placement.pool import Pool
from storage.transfer.client import Transfer
from storage.transfer.race import Answers, Attempt, any_of
from storage.transfer.rates import SLOW_FROM, Rates

RETRY_WAITS_S = (0.0, 0.1, 0.5, 2.0)
"""Waits before living holders whose connection broke are asked (again)."""

FOR_GOOD = frozenset({"missing", "lied", "corrupt", "unknown"})
"""Failures that asking again does not mend."""


_Order: TypeAlias = tuple[bool, bool, tuple[bool, int], bytes, int]


class SegmentSources(msgspec.Struct, frozen=True):
    """One segment as a fetcher sees it: what to get and who is said to have it."""

    k: int
    shard_bytes: int
    roots: tuple[ShardRoot, ...]
    """Of all n shards (n times the same for copies)."""
    holders: tuple[PeerId | None, ...]
    """By shard, from the holder record."""

    def first(self, count: int) -> "SegmentSources":
        """Without the shards from `count` on."""
        return SegmentSources(self.k, self.shard_bytes, self.roots[:count], self.holders[:count])


class Fetcher:
    """Fetches verified shards; remembers who was fast and who failed."""

    def __init__(self, transfer: Transfer, pool: Pool, rates: Rates) -> None:
        self._transfer = transfer
        self._pool = pool
        self._rates = rates
        self._under_way: Counter[PeerId] = Counter()
        """Shards that we wait for, by holder."""

    async def fetch(
        self,
        sources: SegmentSources,
        *,
        traffic_class: TrafficClass = TrafficClass.NORMAL,
        without: Sequence[PeerId] = (),
    ) -> dict[int, bytes]:
        """k verified shards by number; `without` names peers not to ask.

        Raises ObjectDegradedError when fewer can be had from anybody alive.
        """
        known = [
            (number, holder)
            for number, holder in enumerate(sources.holders)
            if holder is not None and holder not in without
        ]
        answers: Answers[bytes] = Answers()
        # A connection that broke is no reason to give a living holder up.
        for wait_s in RETRY_WAITS_S:
            await trio.sleep(wait_s)
            lost = {failure.holder for failure in answers.failures if failure.code in FOR_GOOD}
            left = [(n, peer) for n, peer in known if n not in answers.results and peer not in lost]
            if wait_s > 0:
                left = [(n, peer) for n, peer in left if self._pool.is_alive(peer)]
            await self._gather(sources, left, answers, traffic_class)
            if len(answers.results) >= sources.k or not left:
                break
        if len(answers.results) < sources.k:
            asked = {*without, *(holder for _, holder in known)}
            missing = [n for n in range(len(sources.roots)) if n not in answers.results]
            located = await self._locate(sources, missing, asked)
            await self._gather(sources, located, answers, traffic_class)
        if len(answers.results) < sources.k:
            raise ObjectDegradedError(
                f"{len(answers.results)} shards of a segment can be had, {sources.k} needed; "
                + "; ".join(str(failure) for failure in answers.failures[:3])
            )
        return answers.results

    async def _gather(
        self,
        sources: SegmentSources,
        places: Sequence[tuple[int, PeerId]],
        answers: Answers[bytes],
        traffic_class: TrafficClass,
    ) -> None:
        """Add to `answers` until k shards are there or all places were asked once."""
        ordered = sorted(places, key=lambda pair: self._order(sources, *pair))
        attempts = [self._attempt(sources, *pair, traffic_class) for pair in ordered]
        need = sources.k - len(answers.results)
        more = await any_of(need, attempts, self._rates.hedge_s, self._rates.late_s)
        answers.results.update(more.results)
        answers.failures += more.failures

    async def get(
        self, holder: PeerId, root: ShardRoot, length: int, traffic_class: TrafficClass
    ) -> bytes:
        """One verified shard from one holder, timed. Raises HolderFailedError."""
        begun_s = trio.current_time()
        self._under_way[holder] += 1
        try:
            data = await self._transfer.get_shard(holder, root, length, traffic_class=traffic_class)
        except HolderFailedError:
            self._rates.failed(holder, trio.current_time())
            raise
        finally:
            self._under_way[holder] -= 1
        self._rates.worked(holder, length, trio.current_time() - begun_s)
        return data

    def _order(self, sources: SegmentSources, number: int, holder: PeerId) -> _Order:
        """Living before silent, ourselves first, then by rate. Of equal and quick ones data shards
        before parity; slow ones, and copies, in an order that is each machine's own for each
        shard: so many who read the same at once ask different holders."""
        under_way = self._under_way[holder]
        rank = is_bad, speed = self._rates.rank(holder, trio.current_time(), under_way)
        is_silent = not self._pool.is_alive(holder)
        own_turn = b""
        if sources.k == 1 or is_bad or speed >= SLOW_FROM:
            whom = f"{self._pool.me} {holder} ".encode()
            own_turn = blake3(whom + sources.roots[number]).digest(length=8)
        return is_silent, holder != self._pool.me, rank, own_turn, number

    def _attempt(
        self, sources: SegmentSources, number: int, holder: PeerId, traffic_class: TrafficClass
    ) -> Attempt[bytes]:
        ask = partial(self.get, holder, sources.roots[number], sources.shard_bytes, traffic_class)
        return Attempt(number, ask, partial(self._transfer.came_bytes, holder))

    async def _locate(
        self, sources: SegmentSources, missing: Sequence[int], asked: set[PeerId]
    ) -> list[tuple[int, PeerId]]:
        """The last resort: ask everybody else alive whether they have what is missing."""
        others = [peer for peer in self._pool.alive() if peer not in asked][:ASKED_MAX]
        roots = [sources.roots[number] for number in missing]
        located: list[tuple[int, PeerId]] = []
        limiter = trio.CapacityLimiter(ASKED_AT_ONCE)

        async def ask(peer: PeerId) -> None:
            async with limiter:
                try:
                    held = await self._transfer.have(peer, roots)
                except HolderFailedError:
                    return  # it is one of many that may or may not know
            located.extend((missing[at], peer) for at, has in enumerate(held) if has)

        async with trio.open_nursery() as nursery:
            for peer in others:
                nursery.start_soon(ask, peer)
        return sorted(located)
