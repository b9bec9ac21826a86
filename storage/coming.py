"""What is on its way into a table, counted with what is there.

A bound is checked inside a transaction, and what it lets in is counted after the commit. Whoever
brings many things at once would pass it together, as each sees the others nowhere.
"""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec

EVERYTHING: Final = "all"
"""The group that everything counts against, whoever brings it."""


class Coming(msgspec.Struct):
    """Different keys under way, by whom they count against."""

    _keys: dict[Hashable, Counter[bytes]] = msgspec.field(default_factory=dict)
    """By group: each key, and how often it is under way; no empty group."""

    @contextmanager
    def of(self, groups: Sequence[Hashable], key: bytes) -> Iterator[None]:
        """While this runs the key counts against each group, once however often it comes."""
        for group in groups:
            self._keys.setdefault(group, Counter())[key] += 1
        try:
            yield
        finally:
            for group in groups:
                self._keys[group][key] -= 1
                if not self._keys[group][key]:
                    del self._keys[group][key]
                if not self._keys[group]:
                    del self._keys[group]

    def with_one(self, group: Hashable) -> int:
        """How many are under way, the one that asks included."""
        return max(1, len(self._keys.get(group, ())))

    def __len__(self) -> int:
        """Groups of which something is under way."""
        return len(self._keys)
