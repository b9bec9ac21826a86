"""Which items one node holds, and what an item must be to be taken.

It must be newer than what is held of its origin and kind, of a known member, affordable for the
peer that brought it, signed, and within its life: cheap checks first. Life is bounded three ways:
by what the carrier says is left, by the signed ttl counted from its arrival here (monotonic), and
by wall clock within the skew allowed between machines.
"""

import math
from collections.abc import Callable, Mapping

import msgspec

from p2p.buckets import Buckets
from p2p.errors import WireError
from p2p.gossip.items import Item
from p2p.gossip.messages import DOMAINS, KINDS, Carried, ItemFact
from p2p.gossip.origins import Origins
from p2p.gossip.table import ItemRow, ItemTable, key_of
from p2p.ids import NetworkId, PeerId
from p2p.limits import (
    CLOCK_SKEW_MAX_MS,
    FORGERY_COST,
    GOSSIP_BODY_BYTES_MAX,
    GOSSIP_ROWS_MAX,
    GOSSIP_ROWS_PER_PERSON_MAX,
    GOSSIP_STRANGERS_MAX,
    GOSSIP_TTL_S_MAX,
    INCARNATION_MAX,
)
from p2p.membership.view import GONE, View
from p2p.wire.envelope import Signed, Signer, open_signed, seal

PAYLOAD_BYTES_MAX = GOSSIP_BODY_BYTES_MAX + 32
TTL_MS_MAX = round(GOSSIP_TTL_S_MAX * 1000)

MARK_S = (TTL_MS_MAX + 2 * CLOCK_SKEW_MAX_MS) / 1000
"""For so long after an item arrived could an older one of its origin still pass for live."""


class _Listed(msgspec.Struct, frozen=True):
    """The items of a kind, and what they were read from."""

    items: Mapping[PeerId, Item]
    version: int
    """Of the table for this kind (`ItemTable.version`)."""
    view: View | None
    """The membership by which those gone were left out."""
    until_s: float
    """When the first of them ends, unless it is prolonged."""

    def is_old(self, version: int, view: View | None, now_s: float) -> bool:
        return now_s >= self.until_s or version != self.version or view is not self.view


class Holdings:
    """The table, what comes into it, and our own words."""

    def __init__(
        self,
        signer: Signer,
        network: NetworkId,
        origins: Origins,
        wall_ms: Callable[[], int],
        buckets: Buckets,
    ) -> None:
        self.me = signer.peer_id
        self._origins = origins
        self.table = ItemTable(GOSSIP_ROWS_MAX)
        self.refused = 0
        """Items with a wrong signature, content or time, since the start."""
        self.throttled = 0
        """Items dropped because the peer that brought them brought too many."""
        self._signer = signer
        self._network = network
        self._wall_ms = wall_ms
        self._buckets = buckets
        self._sequence = 0
        """Of our newest word of any kind: wall-clock milliseconds, or one above the one before."""
        self._waiting: dict[int, tuple[Signed, float]] = {}
        """By key: items of origins that are no members yet, and when they end; the newest last."""
        self._listed: dict[int, _Listed] = {}
        """What `items` gave last, by kind."""

    # -- reading

    def items(self, kind: int, now_s: float) -> Mapping[PeerId, Item]:
        """Live items of members not known to be gone, ours included, sorted by origin.

        The same mapping as before while nothing has changed.
        """
        liveness = self._origins.liveness()
        listed, version = self._listed.get(kind), self.table.version(kind)
        if listed is None or listed.is_old(version, self._origins.seen, now_s):
            rows = [row for row in self.table if row.item.kind == kind and row.is_live(now_s)]
            by_origin = {row.item.origin: row.item for row in rows}
            here = (o for o in sorted(by_origin) if o == self.me or liveness.get(o) not in GONE)
            until_s = min((row.ends_s for row in rows), default=math.inf)
            listed = _Listed({o: by_origin[o] for o in here}, version, self._origins.seen, until_s)
            self._listed[kind] = listed
        return listed.items

    # -- our own words

    def publish(self, kind: int, body: bytes, ttl_s: float, now_s: float) -> ItemRow | None:
        """Hold our newest word of a kind; None when the table is full of live items."""
        wall_ms, ttl_ms = self._wall_ms(), round(ttl_s * 1000)
        self._sequence = max(self._sequence + 1, wall_ms)
        sealed = seal(
            self._signer,
            self._network,
            DOMAINS[kind],
            ItemFact(ttl_ms, body),
            sequence=self._sequence,
            expires_ms=wall_ms + ttl_ms,
        )
        return self._hold(sealed, kind, body, now_s, now_s + ttl_s, now_s + ttl_s)

    # -- the words of others

    def take(self, peer: PeerId, carried: Carried, now_s: float) -> ItemRow | None:
        """The row of an item that is new to us and live, or None; see the module.

        An item of ours from an earlier life whose clock was ahead has us speak again, louder:
        then the row is our own.
        """
        sealed, ends_s = carried.sealed, now_s + carried.left_ms / 1000
        kind = KINDS.get(sealed.domain)
        if kind is None or ends_s <= now_s or not self._is_plausible(sealed):
            self.refused += 1
            return None
        held = self.table.get(key_of(sealed.sender, kind))
        if held is not None and sealed.sequence <= held.item.sequence:
            self.table.prolong(held, sealed, ends_s)
            return None
        if not self._may_hold(sealed, kind, held, ends_s):
            return None
        fact = self._open(peer, sealed, now_s)
        if fact is None:
            return None
        if sealed.sender == self.me:
            return self._speak_again(sealed, held, now_s)
        limit_s = now_s + min(fact.ttl_ms, self._left_ms(sealed) + CLOCK_SKEW_MAX_MS) / 1000
        return self._hold(sealed, kind, fact.body, now_s, min(ends_s, limit_s), limit_s)

    def _may_hold(self, sealed: Signed, kind: int, held: ItemRow | None, ends_s: float) -> bool:
        """Whether it may be opened now: what a stranger says waits, too much of one is dropped."""
        origin = sealed.sender
        if origin != self.me and origin not in self._origins.liveness():
            self._keep_waiting(key_of(origin, kind), sealed, ends_s)
            return False
        if held is None and not self._has_room_for(origin):
            self.throttled += 1
            return False
        return True

    def welcome(self, origin: PeerId, now_s: float) -> list[ItemRow]:
        """Take what has waited for this origin to become a member."""
        keys = [key for key, (sealed, _) in self._waiting.items() if sealed.sender == origin]
        rows = []
        for sealed, ends_s in [self._waiting.pop(key) for key in keys]:
            left_ms = round((ends_s - now_s) * 1000)
            rows.append(self.take(origin, Carried(left_ms, sealed), now_s))
        return [row for row in rows if row is not None]

    def lacks(self, key: int, sequence: int) -> bool:
        """Whether an item of this key and sequence would be new to us."""
        row = self.table.get(key)
        return row is None or row.item.sequence < sequence

    # -- inside

    def _has_room_for(self, origin: PeerId) -> bool:
        """Whether one more row may be this origin's owner's; asked once half of them are taken."""
        owners = self._origins.owners
        owner = owners.get(origin)
        if origin == self.me or not owner or len(self.table) < GOSSIP_ROWS_MAX // 2:
            return True
        theirs = sum(owners.get(row.item.origin) == owner for row in self.table)
        return theirs < GOSSIP_ROWS_PER_PERSON_MAX

    def _left_ms(self, sealed: Signed) -> int:
        return sealed.expires_ms - self._wall_ms()

    def _is_plausible(self, sealed: Signed) -> bool:
        return (
            sealed.network == self._network
            and len(sealed.payload) <= PAYLOAD_BYTES_MAX
            and 0 <= sealed.sequence < INCARNATION_MAX
            and -CLOCK_SKEW_MAX_MS < self._left_ms(sealed) <= TTL_MS_MAX + CLOCK_SKEW_MAX_MS
        )

    def _open(self, peer: PeerId, sealed: Signed, now_s: float) -> ItemFact | None:
        if not self._buckets.take(peer, 1, now_s):
            self.throttled += 1
            return None
        try:
            fact = open_signed(self._signer, self._network, sealed.domain, ItemFact, sealed)
        except WireError:
            self._buckets.charge(peer, FORGERY_COST, now_s)
            fact = None
        if fact is None or not self._is_sound(fact, sealed):
            self.refused += 1
            return None
        return fact

    def _is_sound(self, fact: ItemFact, sealed: Signed) -> bool:
        return (
            0 < fact.ttl_ms <= TTL_MS_MAX
            and len(fact.body) <= GOSSIP_BODY_BYTES_MAX
            and self._left_ms(sealed) <= fact.ttl_ms + CLOCK_SKEW_MAX_MS
        )

    def _speak_again(self, sealed: Signed, held: ItemRow | None, now_s: float) -> ItemRow | None:
        self._sequence = max(self._sequence, sealed.sequence)
        if held is None or not held.is_live(now_s):
            return None
        return self.publish(held.item.kind, held.item.body, held.ends_s - now_s, now_s)

    def _keep_waiting(self, key: int, sealed: Signed, ends_s: float) -> None:
        self._waiting.pop(key, None)
        self._waiting[key] = (sealed, ends_s)
        if len(self._waiting) > GOSSIP_STRANGERS_MAX:
            del self._waiting[next(iter(self._waiting))]

    def _hold(
        self, sealed: Signed, kind: int, body: bytes, now_s: float, ends_s: float, limit_s: float
    ) -> ItemRow | None:
        item = Item(sealed.sender, kind, sealed.sequence, sealed.expires_ms, body)
        key = key_of(item.origin, kind)
        row = ItemRow(key, item, sealed, ends_s, limit_s, now_s + MARK_S)
        return row if self.table.put(row, now_s) else None

    def check_invariants(self) -> None:
        """Between two events: nobody has said more in our name than we, and bounds are kept."""
        self.table.check_invariants()
        self._origins.check_invariants()
        ours = [row.item.sequence for row in self.table if row.item.origin == self.me]
        assert max(ours, default=0) <= self._sequence, "a word of ours that we did not say"
        assert len(self._waiting) <= GOSSIP_STRANGERS_MAX, "more wait than may"
