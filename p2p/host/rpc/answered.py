"""Calls that have ended, so that one which comes twice runs once.

Whoever doubts a path may send a call without a body again on another, under the same id: its
handler runs once, and the copy of the answer that comes first counts.
"""

from p2p.limits import ANSWER_KEPT_BYTES_MAX, ANSWERS_KEPT_MAX


class Answered:
    """The newest calls of one channel that have ended, with their answers."""

    def __init__(self) -> None:
        self._frames: dict[int, bytes | None] = {}
        """By id, the oldest first, at most ANSWERS_KEPT_MAX; None: it is too long to be kept."""
        self._forgotten_to = -1
        """The highest id that is remembered no more: ids grow along a path."""

    def __contains__(self, call_id: int) -> bool:
        return call_id in self._frames or call_id <= self._forgotten_to

    def add(self, call_id: int, frame: bytes | None) -> None:
        """A call has ended, with this answer if it had one that fits into a frame."""
        is_small = frame is not None and len(frame) <= ANSWER_KEPT_BYTES_MAX
        self._frames[call_id] = frame if is_small else None
        if len(self._frames) > ANSWERS_KEPT_MAX:
            oldest = next(iter(self._frames))
            del self._frames[oldest]
            self._forgotten_to = max(self._forgotten_to, oldest)

    def answer_to(self, call_id: int) -> bytes | None:
        """The frame that answered a call; None when it is not kept."""
        return self._frames.get(call_id)
