"""When a checkpoint that lies in a folder is complete: decided from looks at it, and the time.

    renamed into place, or marked   the same at two looks: complete
    filled in place                 quiet for a while: taken, but not relied on
                                    quiet for long, or a later step has begun: complete

A checkpoint that changes after it was taken is taken again; until it is complete, whoever resumes
is given the one before it.
"""

import math
from collections.abc import Sequence

import msgspec

from swarmnode.memory.entries import CheckpointEntry, FolderLook
from swarmnode.tree.names import Parts
from swarmnode.tree.scan import Found


class StillnessConfig(msgspec.Struct, frozen=True):
    """Times in seconds."""

    quiet_s: float = 5.0
    """In-place writers pause between files for a second or two while they gather the next."""
    sure_s: float = 30.0
    """Longer pauses within one checkpoint are rare; what changes later is taken all the same."""


class Draft(msgspec.Struct, frozen=True):
    """What should be stored now."""

    entry: CheckpointEntry
    loose: tuple[Found, ...]
    is_sure: bool


class Stillness(msgspec.Struct):
    """One folder under watch. Steps only grow, except that one taken too early is taken again."""

    config: StillnessConfig = msgspec.field(default_factory=StillnessConfig)
    step: int = 0
    """Newest step that is stored."""
    found: tuple[Found, ...] | None = None
    """What it was made of; None when nobody knows any more."""
    loose: dict[Parts, Found] = msgspec.field(default_factory=dict)
    """What was stored of what lies beside it."""
    is_sure: bool = True
    """What is stored was complete, as far as anybody can tell; else it is taken again."""
    _restless_s: float = math.inf
    """Since when something is new that has not come to rest."""
    _since: dict[int, tuple[tuple[Found, ...], float]] = msgspec.field(default_factory=dict)
    """Entries as they were last seen, and since when they are so."""
    _beside: dict[Parts, Found] = msgspec.field(default_factory=dict)
    """What lay beside them at the look before."""
    _refused: dict[int, tuple[Found, ...]] = msgspec.field(default_factory=dict)
    """Entries that could not be kept as they are: an older one that can goes first."""

    def stored(self, draft: Draft, step: int) -> None:
        """The pool keeps it, and the submitter will be told."""
        self.step, self.found = step, draft.entry.found
        self.loose, self.is_sure = {path.parts: path for path in draft.loose}, draft.is_sure

    def refused(self, entry: CheckpointEntry) -> None:
        """As it is, it cannot be kept; whether an older one can is still to be seen."""
        self._refused[entry.step] = entry.found

    def is_refused(self, entry: CheckpointEntry) -> bool:
        """Whether it is still what could not be kept."""
        return self._refused.get(entry.step) == entry.found

    def is_new(self, draft: Draft) -> bool:
        """Whether storing it would tell anything that is not stored."""
        loose = {path.parts: path for path in draft.loose}
        is_same = draft.entry.step == self.step and draft.entry.found == self.found
        return not is_same or loose != self.loose or draft.is_sure is not self.is_sure

    def resumed(self, look: FolderLook) -> None:
        """What is in the folder now is what the last checkpoint brought back."""
        for entry in look.entries:
            if entry.step in (0, self.step):
                self.found = entry.found
                self.loose = {path.parts: path for path in look.loose}

    def look(self, look: FolderLook, now_s: float) -> Draft | None:
        """The newest one to be stored, if one has come to rest."""
        draft = self._calm(look, now_s)
        has_news = any(self._is_news(entry, is_sure=False) for entry in look.entries)
        if draft is not None or not has_news:
            self._restless_s = math.inf
        else:
            self._restless_s = min(self._restless_s, now_s)
        return draft

    def restless_s(self, now_s: float) -> float:
        """For how long there has been something new that never came to rest."""
        return max(0.0, now_s - self._restless_s)

    def _calm(self, look: FolderLook, now_s: float) -> Draft | None:
        calm = [entry for entry in look.entries if self._rest_s(entry, now_s) is not None]
        rests = {id(entry): self._rest_s(entry, now_s) or 0.0 for entry in calm}
        self._remember(look, now_s)
        calm_beside = [path for path in look.loose if self._beside.get(path.parts) == path]
        self._beside = {path.parts: path for path in look.loose}
        is_beside_news = self._is_beside_news(look, calm_beside)
        highest = max((entry.step for entry in look.entries), default=0)
        for entry in self._in_turn(calm):
            is_sure = self._is_sure(entry, rests[id(entry)], highest)
            may_be = is_sure or rests[id(entry)] >= self.config.quiet_s
            if may_be and (
                self._is_news(entry, is_sure=is_sure)
                or (entry.step in (0, self.step) and is_beside_news)
            ):
                return Draft(entry, look.loose, is_sure)
        return None

    def last_words(self, look: FolderLook, now_ns: int, *, is_orderly: bool) -> Draft | None:
        """The newest one after the end of its program, which may have been killed in the middle.

        `now_ns` is the clock of the files' times: nobody may have looked for a while.
        """
        highest = max((entry.step for entry in look.entries), default=0)
        for entry in self._in_turn(look.entries):
            rest_s = (now_ns - max(path.changed_ns for path in entry.found)) / 1e9
            is_whole = is_orderly or entry.is_marked or entry.was_placed
            may_be = is_whole or rest_s >= self.config.quiet_s
            is_news = self._is_news(entry, is_sure=is_whole)
            is_beside = entry.step in (0, self.step) and self._is_beside_news(look, look.loose)
            if may_be and (is_news or is_beside):
                return Draft(entry, look.loose, is_whole or self._is_sure(entry, rest_s, highest))
        return None

    def _in_turn(self, entries: Sequence[CheckpointEntry]) -> list[CheckpointEntry]:
        """The newest first, but for those that were refused."""
        return sorted(entries, key=lambda entry: (self.is_refused(entry), -entry.step))

    def _is_sure(self, entry: CheckpointEntry, rest_s: float, highest: int) -> bool:
        is_whole = entry.is_marked or entry.was_placed
        return is_whole or rest_s >= self.config.sure_s or highest > entry.step

    def _is_news(self, entry: CheckpointEntry, *, is_sure: bool) -> bool:
        if 0 < entry.step < self.step:
            return False
        is_other = entry.step > self.step or entry.found != self.found
        return is_other or (is_sure and not self.is_sure)

    def _is_beside_news(self, look: FolderLook, calm: Sequence[Found]) -> bool:
        """Something beside the steps came to rest otherwise than it was stored, or is gone.

        What grows without end is no news by itself; it comes along with what is.
        """
        here = {path.parts for path in look.loose}
        has_changed = any(self.loose.get(path.parts) != path for path in calm)
        return has_changed or any(parts not in here for parts in self.loose)

    def _rest_s(self, entry: CheckpointEntry, now_s: float) -> float | None:
        """For how long it has been as it is; None when it was not so at the look before."""
        seen = self._since.get(entry.step)
        return now_s - seen[1] if seen is not None and seen[0] == entry.found else None

    def _remember(self, look: FolderLook, now_s: float) -> None:
        before = self._since
        self._since = {}
        self._refused = {one.step: one.found for one in look.entries if self.is_refused(one)}
        for entry in look.entries:
            seen = before.get(entry.step)
            is_same = seen is not None and seen[0] == entry.found
            self._since[entry.step] = seen if seen and is_same else (entry.found, now_s)
