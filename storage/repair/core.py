"""Decides which segments are mended, when and by whom. Every holder runs the same rules.

    holder silent -> lost after down_after_s, or at once when live <= k + 1; left -> lost at once
    removed -> lost at once, however many live
    leader of a page = first living holder in rendezvous order; the next acts `takeover_s` later
    what has fewest shards to spare goes first, within a token bucket of bytes
    many silent at once -> only segments with live <= k, until the brake is over
    no machine without a shard of the segment -> wait until one comes; degraded while one may
    fewer shards than the pool could keep -> raised: made like lost ones, after `raise_s`

Two may still mend the same page (their views differ): both publish a record of the same sequence,
one of them wins everywhere, and the other's shards end with their lease.
"""

import math
from collections.abc import Iterator, Sequence
from typing import assert_never

from p2p.effects import Notify, Rng, WakeAt
from p2p.ids import PeerId
from p2p.membership.view import Liveness
from storage.placement.possible import shards_possible
from storage.placement.rendezvous import peers_in_order, shards_wanted
from storage.records.holding import Rows
from storage.repair.budget import ByteBudget
from storage.repair.config import (
    BRAKE_MEMBERS,
    BRAKE_SHARE,
    REPAIRS_AT_ONCE,
    SEGMENTS_PER_JOB,
    RepairConfig,
)
from storage.repair.events import (
    Effect,
    Event,
    HomesAre,
    JobEnded,
    LookDue,
    MemberIs,
    Mend,
    PageGone,
    PageIs,
    PageKey,
    Remembered,
    RemovedAre,
)
from storage.repair.watched import Damage, WatchedPage


class Repair:
    """Pure: events in, Mend orders (as Notify) and timers out."""

    def __init__(self, config: RepairConfig, me: PeerId, rng: Rng) -> None:
        self._config, self._me, self._rng = config, me, rng
        self._members: dict[PeerId, tuple[Liveness, float]] = {}
        """Everybody told of or named by a record: standing, and since when on our clock."""
        self._removed: frozenset[PeerId] = frozenset()
        """Out of the network for good, whatever membership last said of them."""
        self._pages: dict[PageKey, WatchedPage] = {}
        """Those whose newest record was told, until they are gone here."""
        self._strangers: dict[PeerId, float] = {}
        """Holders membership has not told us of, and when they count as silent, and lost."""
        self._remembered: frozenset[PeerId] = frozenset()
        """Who lent before our start, by our own word."""
        self._hearsay: set[PeerId] = set()
        """Holders that only records name: whoever makes records up must not stop repair by them."""
        self._by_peer: dict[PeerId, dict[PageKey, None]] = {}
        """The pages whose records name somebody; nobody without a page."""
        self._damaged: dict[PageKey, None] = {}
        """Pages that lack shards, or could have more, ours to mend or not; as they were noticed."""
        self._homes: tuple[PeerId, ...] = ()
        """Machines that live and lend, as told last."""
        self._budget = ByteBudget(config.bytes_per_s)
        """What jobs may move now."""
        self._running = 0
        """Jobs under way, at most REPAIRS_AT_ONCE; a page that was dropped may have one."""

    def handle(self, event: Event, now_s: float) -> list[Effect]:
        """Take one event into account."""
        match event:
            case MemberIs():
                self._hearsay.discard(event.peer)
                self._strangers.pop(event.peer, None)
                self._on_member(event, now_s)
            case RemovedAre(peers):
                self._on_removed(peers, now_s)
            case Remembered(peers):
                self._remembered = frozenset(peers)
            case PageIs():
                self._on_page(event, now_s)
            case PageGone(page):
                self._forget(page)
            case HomesAre(peers):
                self._on_homes(peers, now_s)
            case JobEnded():
                self._on_ended(event, now_s)
            case LookDue():
                self._judge_strangers(now_s)
                wake = WakeAt(now_s + self._config.look_s, LookDue())
                return [*self._start(now_s), wake]
            case _:
                assert_never(event)
        return []

    def degraded(self, now_s: float) -> list[PageKey]:
        """Pages that lack shards which the pool as it is now could hold, or cannot be read."""
        return [key for key in self._damaged if now_s < self._pages[key].lacks_until_s]

    @property
    def unreadable(self) -> int:
        """Pages of which fewer than k shards of some segment live."""
        damaged = (self._pages[key] for key in self._damaged)
        return sum(
            any(sum(p is not None and self._is_up(p) for p in row) < page.k for row in page.rows)
            for page in damaged
        )

    @property
    def pages(self) -> int:
        """Pages watched."""
        return len(self._pages)

    def led_pages(self, holder: PeerId | None = None) -> list[PageKey]:
        """Pages whose repair we lead, of all holders or of one."""
        keys = self._pages if holder is None else self._by_peer.get(holder, {})
        return [key for key in keys if self._rank(key, self._pages[key], holder) == 0]

    def seconded_pages(self) -> list[tuple[PageKey, PeerId]]:
        """Pages whose leader we would follow, with that leader.

        One that lost its disk does not know that it leads: somebody else must notice.
        """
        living_of_pages = ((key, self._living(key, page)) for key, page in self._pages.items())
        return [(key, living[0]) for key, living in living_of_pages if living[1:2] == [self._me]]

    def unheld_pages(self) -> list[PageKey]:
        """Pages that lack shards, of which we hold none, and all others named in them live."""
        return [
            key
            for key in self._damaged
            if self._me not in (peers := _peers(self._pages[key].rows))
            and all(self._is_up(peer) for peer in peers)
        ]

    # -- what we are told

    def _on_member(self, event: MemberIs, now_s: float) -> None:
        self._members[event.peer] = (event.liveness, event.since_s)
        for key in self._by_peer.get(event.peer, ()):
            self._judge(key, now_s)

    def _on_removed(self, peers: frozenset[PeerId], now_s: float) -> None:
        changed, self._removed = self._removed ^ peers, peers
        for key in dict.fromkeys(k for p in sorted(changed) for k in self._by_peer.get(p, ())):
            self._judge(key, now_s)

    def _on_page(self, event: PageIs, now_s: float) -> None:
        old = self._pages.get(event.page)
        if old is not None and old.rows == event.rows and old.sequence == event.sequence:
            return
        if old is not None:
            self._unlink(event.page, old)
        page = WatchedPage(
            event.k, event.sequence, event.shard_bytes, event.rows, event.is_small, now_s,
            self._rng.uniform(0, self._config.jitter_s),
        )  # fmt: skip
        page.is_running = old is not None and old.is_running
        self._pages[event.page] = page
        for peer in _peers(event.rows):
            if peer not in self._members:
                if peer not in self._remembered:
                    self._hearsay.add(peer)
                self._members[peer] = (Liveness.SUSPECT, now_s)
                self._strangers[peer] = now_s + self._config.stranger_s
            self._by_peer.setdefault(peer, {})[event.page] = None
        self._judge(event.page, now_s)

    def _judge_strangers(self, now_s: float) -> None:
        for peer, silent_s in self._strangers.items():
            if silent_s <= now_s and self._members[peer][0] is Liveness.SUSPECT:
                self._on_member(MemberIs(peer, Liveness.DEAD, silent_s), now_s)

    def _on_homes(self, peers: tuple[PeerId, ...], now_s: float) -> None:
        has_new = any(peer not in self._homes for peer in peers)
        self._homes = peers
        # Who comes makes room for every page there is; who goes, only trouble for some.
        for key, page in self._pages.items():
            is_low = has_new and self._wanted(page) > len(page.rows[0])
            if key not in self._damaged and not is_low:
                continue
            if has_new:
                page.not_before_s = -math.inf
            self._judge(key, now_s)

    def _on_ended(self, event: JobEnded, now_s: float) -> None:
        self._running -= 1
        page = self._pages.get(event.page)
        if page is None:
            return
        page.is_running = False
        page.fails = 0 if event.is_done else page.fails + 1
        if not event.is_done:
            wait_s = self._config.retry_s * 2 ** min(page.fails - 1, 16)
            page.not_before_s = now_s + min(wait_s, self._config.retry_max_s)
        self._judge(event.page, now_s)

    def _forget(self, key: PageKey) -> None:
        page = self._pages.pop(key, None)
        if page is not None:
            self._unlink(key, page)
            self._damaged.pop(key, None)

    def _unlink(self, key: PageKey, page: WatchedPage) -> None:
        for peer in _peers(page.rows):
            known = self._by_peer.get(peer, {})
            known.pop(key, None)
            if not known:
                self._by_peer.pop(peer, None)
            if not known and peer in self._hearsay:
                self._hearsay.discard(peer)
                del self._members[peer]
                self._strangers.pop(peer, None)

    # -- what we make of it

    def _is_up(self, peer: PeerId) -> bool:
        if peer == self._me:
            return True
        return self._members[peer][0] <= Liveness.SUSPECT and peer not in self._removed

    def _lacks_until_s(self, row: Sequence[PeerId | None], k: int) -> float:
        """Until when a segment has fewer shards than it needs, or than the pool could hold.

        -inf: it has them; inf: nobody's silence decides that.
        """
        holders = [peer for peer in row if peer is not None]
        up = [peer for peer in holders if self._is_up(peer)]
        live = len(up)
        if live == len(row):
            return -math.inf
        if live < max(k, shards_possible(len(row), self._homes, up)):
            return math.inf
        gone = (peer for peer in holders if not self._is_up(peer))
        return max((self._counted_until_s(p, k, len(row), live) for p in gone), default=-math.inf)

    def _counted_until_s(self, peer: PeerId, k: int, n: int, live: int) -> float:
        """Until when a holder that is gone is a machine of the pool still."""
        if peer in self._removed or peer in self._strangers:
            return -math.inf
        liveness, since_s = self._members[peer]
        is_away = liveness is Liveness.DEAD
        return since_s + self._config.counted_s(k, n, live, is_away=is_away)

    def _judge(self, key: PageKey, now_s: float) -> None:
        """Work out anew whether and when we mend a page."""
        page = self._pages[key]
        page.is_damaged = any(
            peer is None or not self._is_up(peer) for row in page.rows for peer in row
        )
        page.lacks_until_s = -math.inf
        if page.is_damaged:
            page.lacks_until_s = max(self._lacks_until_s(row, page.k) for row in page.rows)
        page.due_s = math.inf
        is_low = self._wanted(page) > len(page.rows[0])
        since_s = now_s if page.low_since_s is None else page.low_since_s
        page.low_since_s = since_s if is_low else None
        if not page.is_damaged and not is_low:
            self._damaged.pop(key, None)
            return
        self._damaged.setdefault(key)
        rank = self._rank(key, page)
        damages = list(self._damages(page))
        if rank is None or not damages:
            return
        page.margin = min(damage.live for damage in damages) - page.k
        begin_s = max(min(d.first_s for d in damages), page.changed_s) + page.jitter_s
        page.due_s = max(begin_s + rank * self._config.takeover_s, page.not_before_s)

    def _rank(self, key: PageKey, page: WatchedPage, without: PeerId | None = None) -> int | None:
        """Our place among the living holders; None when we hold nothing of the page."""
        living = [peer for peer in self._living(key, page) if peer != without]
        return living.index(self._me) if self._me in living else None

    def _living(self, key: PageKey, page: WatchedPage) -> list[PeerId]:
        """The living holders, the leader first."""
        address, number = key
        order = peers_in_order(address + number.to_bytes(4), _peers(page.rows))
        return [peer for peer in order if self._is_up(peer)]

    def _wanted(self, page: WatchedPage) -> int:
        """Shards that every segment should have in the pool as it is now."""
        if not self._homes:
            return 0
        return shards_wanted(page.k, len(self._homes), small=page.is_small)

    def _damages(self, page: WatchedPage) -> Iterator[Damage]:
        """Segments that lack shards and have a machine to put them on."""
        added = range(len(page.rows[0]), self._wanted(page))
        since_s = page.changed_s if page.low_since_s is None else page.low_since_s
        raised = [(shard, since_s + self._config.raise_s) for shard in added]
        for segment, row in enumerate(page.rows):
            absent = [shard for shard, p in enumerate(row) if p is None or not self._is_up(p)]
            if not (absent or added) or all(home in row for home in self._homes):
                continue
            live = len(row) - len(absent)
            lost = [(s, self._lost_s(row[s], live, page, len(row))) for s in absent]
            yield Damage(segment, live, (*lost, *raised))

    def _lost_s(self, peer: PeerId | None, live: int, page: WatchedPage, n: int) -> float:
        """When an absent shard counts as lost."""
        if peer is None or peer in self._removed:
            return page.changed_s  # nobody has it who might come back
        liveness, since_s = self._members[peer]
        is_away = liveness is Liveness.DEAD
        return since_s + self._config.patience_s(page.k, n, live, is_away=is_away)

    # -- what we do about it

    def _start(self, now_s: float) -> list[Effect]:
        self._budget.fill(now_s)
        is_braked = self._is_braked(now_s)
        ready = sorted(
            (page.margin, page.due_s, key)
            for key in self._damaged
            if (page := self._pages[key]).due_s <= now_s
            and not page.is_running
            and not (is_braked and page.margin > 0)
        )
        orders: list[Effect] = []
        for _, _, key in ready:
            if self._running >= REPAIRS_AT_ONCE or self._budget.left <= 0:
                break
            order = self._order(key, now_s, is_braked)
            if order is not None:
                orders.append(Notify(order))
        return orders

    def _order(self, key: PageKey, now_s: float, is_braked: bool) -> Mend | None:
        page = self._pages[key]
        wanted = []
        for damage in sorted(self._damages(page), key=lambda d: (d.live, d.segment)):
            shards = tuple(shard for shard, lost_s in damage.lost_s if lost_s <= now_s)
            if shards and not (is_braked and damage.live > page.k):
                wanted.append((damage.segment, shards))
        chosen = tuple(wanted[:SEGMENTS_PER_JOB])
        if not chosen:
            return None
        self._budget.left -= sum((page.k + len(shards)) * page.shard_bytes for _, shards in chosen)
        self._running += 1
        page.is_running = True
        return Mend(key, page.sequence, chosen)

    def _is_braked(self, now_s: float) -> bool:
        """Whether so many fell silent lately that it looks like a partition or a power cut."""
        known = (
            status
            for peer, status in self._members.items()
            if peer not in self._hearsay and peer not in self._removed
        )
        standing = [status for status in known if status[0] is not Liveness.LEFT]
        since_s = now_s - self._config.brake_s
        silent = sum(live is Liveness.DEAD and at_s > since_s for live, at_s in standing)
        return silent > max(BRAKE_MEMBERS, BRAKE_SHARE * len(standing))

    def check_invariants(self) -> None:
        """For tests, between two events: pages, holders and jobs agree with one another."""
        named: dict[PeerId, dict[PageKey, None]] = {}
        for key, page in self._pages.items():
            for peer in _peers(page.rows):
                named.setdefault(peer, {})[key] = None
            lacks_until_s = max(self._lacks_until_s(row, page.k) for row in page.rows)
            assert page.lacks_until_s == lacks_until_s, f"{key} was judged by an older pool"
            is_wanting = page.is_damaged or page.low_since_s is not None
            assert (key in self._damaged) == is_wanting, f"{key} is not where it belongs"
            assert is_wanting or page.due_s == math.inf, f"{key} is due without need"
        assert named == self._by_peer, "pages are not filed under their holders"
        assert named.keys() <= self._members.keys(), "a holder nobody has heard of"
        assert self._hearsay <= named.keys(), "hearsay of whom no record names"
        assert self._strangers.keys() <= self._members.keys(), "a stranger without standing"
        assert self._damaged.keys() <= self._pages.keys(), "a page that is gone is to be mended"
        assert self._budget.left <= self._config.bytes_per_s, "more bytes gathered than may"
        jobs = sum(page.is_running for page in self._pages.values())
        assert jobs <= self._running <= REPAIRS_AT_ONCE, f"{jobs} of {self._running} jobs known"


def _peers(rows: Rows) -> list[PeerId]:
    return list(dict.fromkeys(peer for row in rows for peer in row if peer is not None))
