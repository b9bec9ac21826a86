"""Which shards somebody puts or frees at this moment: what one brings the other must not free.

Whoever puts a shard has a receipt for it and writes a record by it. So what is being put is not
freed, what is being freed is not taken, and what was put while somebody judged whether it is needed
stays, though those bytes were here before.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from p2p.errors import RefusalError
from storage.ids import ShardRoot


class Judgement:
    """What is kept here of an object, as somebody sees it who decides whether to give it up."""

    def __init__(self, roots: Collection[ShardRoot]) -> None:
        self.roots = frozenset(roots)
        """Kept when the judging began."""
        self.brought: set[ShardRoot] = set()
        """Those of them that somebody has put again since, so that no more than `roots`."""

    def spans(self, roots: Collection[ShardRoot]) -> bool:
        """Whether it still is about all that is kept: no mending has brought any since."""
        return not self.brought and self.roots.issuperset(roots)

    def has(self, root: ShardRoot) -> bool:
        """Whether it still is about one shard."""
        return root in self.roots and root not in self.brought


class Underway:
    """Keeps those who put, who free and who judge out of each other's way."""

    def __init__(self) -> None:
        self._putting: dict[ShardRoot, int] = {}
        """Shards being written, and by how many."""
        self._freeing: set[ShardRoot] = set()
        """Shards being freed: none that is being written."""
        self._judgements: list[Judgement] = []
        """Of those who judge now."""

    def has(self, root: ShardRoot) -> bool:
        """Whether somebody puts or frees a shard now."""
        return root in self._putting or root in self._freeing

    @contextmanager
    def putting(self, root: ShardRoot) -> Iterator[None]:
        """While a shard is written. Raises RefusalError while it is being freed."""
        if root in self._freeing:
            raise RefusalError("busy", "the same shard is being freed here just now")
        self._putting[root] = self._putting.get(root, 0) + 1
        try:
            yield
        finally:
            self._note(root)
            self._putting[root] -= 1
            if not self._putting[root]:
                del self._putting[root]

    @contextmanager
    def freeing(self, roots: Sequence[ShardRoot]) -> Iterator[list[ShardRoot]]:
        """While some are freed: those of them that nobody else puts or frees."""
        mine = [root for root in roots if not self.has(root)]
        self._freeing.update(mine)
        try:
            yield mine
        finally:
            self._freeing.difference_update(mine)

    @contextmanager
    def judging(self, roots: Collection[ShardRoot]) -> Iterator[Judgement]:
        """While somebody decides about these, and acts upon it."""
        judgement = Judgement(roots)
        self._judgements.append(judgement)
        try:
            yield judgement
        finally:
            self._judgements.remove(judgement)

    def _note(self, root: ShardRoot) -> None:
        for judgement in self._judgements:
            if root in judgement.roots:
                judgement.brought.add(root)
