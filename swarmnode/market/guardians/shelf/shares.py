"""Who has how much of what is kept here: nobody alone fills a keeper."""

from collections import Counter
from collections.abc import Collection

from p2p.ids import PeerId
from p2p.wire.codec import encode
from swarmnode.limits import (
    GUARDED_BYTES_MAX,
    GUARDED_BYTES_PER_MEMBER_MAX,
    GUARDED_MAX,
    GUARDED_PER_SUBMITTER_MAX,
)
from swarmnode.market.guardians.kept import Kept
from swarmnode.market.guardians.records import GuardRecord


class Shares:
    """Tasks by submitter, and bytes by who brought them."""

    def __init__(self) -> None:
        self._submitters: Counter[PeerId] = Counter()
        """How much is kept for each; nobody is in it with nothing."""
        self._bytes: Counter[PeerId] = Counter()
        """Of what each member brought first, as it came last; nobody is in it with nothing."""

    def check(self, everything: Collection[Kept]) -> None:
        """What holds between two events."""
        sizes = Counter[PeerId]()
        for kept in everything:
            sizes[kept.bringer] += kept.size
        submitters = Counter(kept.record.submitter for kept in everything)
        assert self._submitters == submitters, "a task is counted for the wrong machine"
        assert self._bytes == sizes, "bytes are counted for the wrong member"
        assert len(everything) <= GUARDED_MAX, "more is kept than may be"

    def has_room(self, record: GuardRecord, bringer: PeerId) -> bool:
        """Of what one member brings only so much: whose it is anybody can make up."""
        size = len(encode(record))
        is_modest = self._submitters[record.submitter] < GUARDED_PER_SUBMITTER_MAX
        is_share = self._bytes[bringer] + size <= GUARDED_BYTES_PER_MEMBER_MAX
        is_little = self._bytes.total() + size <= GUARDED_BYTES_MAX
        return is_modest and is_share and is_little

    def add(self, kept: Kept) -> None:
        """It is kept from now on; who brought it, where nobody is named, is its submitter."""
        self._submitters[kept.record.submitter] += 1
        kept.bringer = kept.bringer or kept.record.submitter
        kept.size = len(encode(kept.record))
        self._bytes[kept.bringer] += kept.size

    def take(self, kept: Kept) -> None:
        """It is kept no more."""
        _lessen(self._bytes, kept.bringer, kept.size)
        _lessen(self._submitters, kept.record.submitter, 1)

    def move(self, before: PeerId, submitter: PeerId) -> None:
        """A task is another machine's now."""
        _lessen(self._submitters, before, 1)
        self._submitters[submitter] += 1

    def may_grow(self, kept: Kept, record: GuardRecord, *, is_ours: bool) -> bool:
        """Count a newer record of a task instead; False where its bringer's share has no room."""
        size = len(encode(record))
        more = size - kept.size
        is_modest = self._bytes[kept.bringer] + more <= GUARDED_BYTES_PER_MEMBER_MAX
        if more > 0 and not is_modest and not is_ours:
            return False
        self._bytes[kept.bringer] += more
        kept.size = size
        return True


def _lessen(counter: Counter[PeerId], peer: PeerId, by: int) -> None:
    counter[peer] -= by
    if not counter[peer]:
        del counter[peer]
