"""What one node holds of everybody's words: the newest of each origin and kind.

A row outlives its item as a mark of the highest sequence seen, long enough that no older item
can be accepted again (replayed). Times are monotonic; see p2p.gossip.holdings for how they are set.
"""

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b

import msgspec

from p2p.gossip.items import Item
from p2p.ids import PeerId
from p2p.wire.envelope import Signed

KEY_BYTES = 8
KEY_MAX = (1 << 64) - 1


class ItemRow(msgspec.Struct, eq=False):
    """One origin's newest word of one kind."""

    key: int
    """`key_of` its origin and kind."""
    item: Item
    sealed: Signed
    """The item as it came, to be passed on."""
    ends_s: float
    """Live until then."""
    limit_s: float
    """No later copy can make it live longer: its whole life, counted from its arrival here."""
    forget_s: float
    """Its sequence is remembered until then."""

    def is_live(self, now_s: float) -> bool:
        """Whether it may be used and passed on."""
        return now_s < self.ends_s


class ItemTable:
    """Rows by key, in the order of keys."""

    def __init__(self, rows_max: int) -> None:
        self._rows_max = rows_max
        self._rows: dict[int, ItemRow] = {}
        """By key; at most `_rows_max`, live or not."""
        self._order: list[int] = []
        """The keys of `_rows`, sorted."""
        self._versions: Counter[int] = Counter()
        """By kind: how often a row of it was put, prolonged or dropped."""

    def __len__(self) -> int:
        return len(self._rows)

    def version(self, kind: int) -> int:
        """Changes with every row of a kind that is put, prolonged or dropped."""
        return self._versions[kind]

    def __iter__(self) -> Iterator[ItemRow]:
        return (self._rows[key] for key in self._order)

    def get(self, key: int) -> ItemRow | None:
        """The row of a key, live or not."""
        return self._rows.get(key)

    def put(self, row: ItemRow, now_s: float) -> bool:
        """Take a row in the place of an older one; False when there is no room for it."""
        if row.key not in self._rows:
            if len(self._rows) >= self._rows_max and not self._make_room(now_s):
                return False
            insort(self._order, row.key)
        self._rows[row.key] = row
        self._versions[row.item.kind] += 1
        return True

    def prolong(self, row: ItemRow, sealed: Signed, ends_s: float) -> None:
        """Another copy of the item of a row: a carrier may have told too short a life."""
        ends_s = min(ends_s, row.limit_s)
        if ends_s > row.ends_s and sealed == row.sealed:
            row.ends_s = ends_s
            self._versions[row.item.kind] += 1

    def live(self, low: int, high: int, now_s: float) -> list[ItemRow]:
        """Live rows with low <= key <= high."""
        keys = self._order[bisect_left(self._order, low) : bisect_right(self._order, high)]
        return [self._rows[key] for key in keys if self._rows[key].is_live(now_s)]

    def forget(self, now_s: float) -> None:
        """Drop the rows whose sequence need not be remembered any more."""
        old = [row.key for row in self if row.forget_s <= now_s]
        for key in old:
            self._drop(key)

    def _make_room(self, now_s: float) -> bool:
        over = [row for row in self if not row.is_live(now_s)]
        if not over:
            return False
        self._drop(min(over, key=lambda row: row.forget_s).key)
        return True

    def _drop(self, key: int) -> None:
        row = self._rows.pop(key)
        self._versions[row.item.kind] += 1
        del self._order[bisect_left(self._order, key)]

    def check_invariants(self) -> None:
        """Between two events: rows stand where they belong, and no life is beyond its limits."""
        assert self._order == sorted(self._rows), "the order is not that of the rows"
        assert len(self._rows) <= self._rows_max, "more rows than there is room for"
        for key, row in self._rows.items():
            item, sealed = row.item, row.sealed
            assert key == row.key == key_of(item.origin, item.kind), "a row out of its place"
            said = (sealed.sender, sealed.sequence)
            assert (item.origin, item.sequence) == said, f"{item.origin} did not say that"
            assert row.ends_s <= row.limit_s <= row.forget_s, "it lives longer than it may"


def key_of(origin: PeerId, kind: int) -> int:
    """Where a table keeps this origin's word of this kind; the same on every node."""
    return int.from_bytes(blake2b(f"{kind} {origin}".encode(), digest_size=KEY_BYTES).digest())
