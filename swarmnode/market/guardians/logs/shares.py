"""How much of the logs of others lies here, and to whose share it counts."""

import msgspec

from p2p.errors import RefusalError
from p2p.ids import PeerId
from swarmnode.limits import LOG_COPIES_BYTES_MAX, LOG_COPIES_PER_MEMBER_MAX, LOG_KEPT_BYTES_MAX
from swarmnode.tasks.ids import TaskId


class _Copied(msgspec.Struct, frozen=True):
    bringer: PeerId
    size: int


class LogShares:
    """Sums that are kept, so that a piece costs the same however many tasks are guarded."""

    def __init__(self) -> None:
        self._copied: dict[TaskId, _Copied] = {}
        """Tasks of others of which something lies here: those that are guarded, at most."""
        self._shares: dict[PeerId, int] = {}
        """Bytes of those that a machine brought; no machine of none."""
        self._total = 0

    def note(self, task: TaskId, bringer: PeerId, length: int) -> None:
        """So much was printed of it, and who brought it last."""
        self.forget(task)
        size = min(length, LOG_KEPT_BYTES_MAX)
        self._copied[task] = _Copied(bringer, size)
        self._shares[bringer] = self._shares.get(bringer, 0) + size
        self._total += size

    def forget(self, task: TaskId) -> None:
        """It is no more here."""
        if (one := self._copied.pop(task, None)) is None:
            return
        self._total -= one.size
        self._shares[one.bringer] -= one.size
        if not self._shares[one.bringer]:
            del self._shares[one.bringer]

    def refuse_if_full(self, bringer: PeerId) -> None:
        """Raises RefusalError: no room for logs of others, or of that machine."""
        is_full = self._total > LOG_COPIES_BYTES_MAX
        if is_full or self._shares.get(bringer, 0) > LOG_COPIES_PER_MEMBER_MAX:
            raise RefusalError("full", "no room for the logs of more tasks")
