"""What patterns mean in a folder: which of its parts go together as one object, which alone.

A folder that is meant is one tree with everything in it. A file is its own bytes, a program (with
the right to run) a tree of its own. A link that is meant by itself stands for what it leads to: who
asks for `latest.pt` wants a model, not a way to where it was. Many single files are one tree.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from swarmnode.errors import TreeRefusedError
from swarmnode.limits import OUTPUT_MATCHES_MAX, OUTPUTS_APART_MAX
from swarmnode.tree.format import EntryKind, shown
from swarmnode.tree.links import Links
from swarmnode.tree.names import Parts
from swarmnode.tree.pattern import Pattern
from swarmnode.tree.scan import Found


@dataclass(frozen=True, slots=True)
class Piece:
    """What becomes one object."""

    name: Parts
    """Where it is to be; `()` is the folder itself."""
    base: Parts
    """Where it is."""
    found: tuple[Found, ...]
    is_tree: bool


@dataclass(frozen=True, slots=True)
class Selection:
    """What was meant, and what nothing was found for."""

    pieces: tuple[Piece, ...]
    missing: tuple[str, ...]
    """Patterns that nothing matches."""
    faults: tuple[str, ...] = ()
    """What was meant and cannot be kept, in words."""


def select(found: Sequence[Found], patterns: Iterable[Pattern]) -> Selection:
    """Cut what was found (everything beneath a folder, in order) into the objects to be made.

    In time that grows with names times patterns. Raises TreeRefusedError for too many of both.
    """
    meant = _Meant(found, tuple(patterns))
    pieces = [Piece(top, top, tuple(beneath), True) for top, beneath in meant.tops]
    faults: list[str] = []
    places = _Places(found)
    for one in meant.loose:
        if len(pieces) > OUTPUTS_APART_MAX:
            break
        try:
            pieces.append(places.alone(one))
        except TreeRefusedError as error:
            faults.append(str(error))
    if len(pieces) > OUTPUTS_APART_MAX:
        pieces = [_together(meant.chosen, found)]
        faults = []
    return Selection(tuple(pieces), meant.missing, tuple(faults))


class _Meant:
    """Which names the patterns mean."""

    def __init__(self, found: Sequence[Found], patterns: tuple[Pattern, ...]) -> None:
        self.tops: list[tuple[Parts, list[Found]]] = []
        """Folders, each with what is beneath it."""
        self.loose: list[Found] = []
        self.chosen: list[Found] = []
        self._names: dict[Parts, list[Pattern]] = {}
        for pattern in patterns:
            if pattern.name is not None:
                self._names.setdefault(pattern.name, []).append(pattern)
        self._wild = [pattern for pattern in patterns if pattern.name is None]
        if len(found) * len(self._wild) > OUTPUT_MATCHES_MAX:
            raise TreeRefusedError(
                f"{len(found)} names are too many for {len(self._wild)} patterns of outputs: "
                "name folders instead"
            )
        self._open = dict.fromkeys(pattern.text for pattern in patterns)
        for one in found:
            self._look(one)
        self.missing = tuple(self._open)

    def _look(self, one: Found) -> None:
        is_meant = self._is_meant(one)
        top, beneath = self.tops[-1] if self.tops else (one.parts, [])
        if self.tops and one.parts[: len(top)] == top:
            self.chosen.append(one)
            beneath.append(one)
        elif is_meant:
            self.chosen.append(one)
            if one.kind is EntryKind.FOLDER:
                self.tops.append((one.parts, [one]))
            else:
                self.loose.append(one)

    def _is_meant(self, one: Found) -> bool:
        by = list(self._names.get(one.parts, ()))
        by += [pattern for pattern in self._wild if pattern.matches(one.parts)]
        by = [pattern for pattern in by if one.kind is EntryKind.FOLDER or not pattern.is_folder]
        for pattern in by:
            self._open.pop(pattern.text, None)
        return bool(by)


class _Places:
    """Where single files are, and what links lead to."""

    def __init__(self, found: Sequence[Found]) -> None:
        self._found = found
        self._at = {one.parts: one for one in found}
        self._links = Links({one.parts: one.target for one in found if one.target})

    def alone(self, one: Found) -> Piece:
        """A single file, under its own name or that of a link to it. Raises TreeRefusedError."""
        if one.kind is not EntryKind.LINK:
            return Piece(one.parts, one.parts, (one,), bool(one.mode & 0o111))
        target = self._end_of(one)
        if target.kind is EntryKind.FOLDER:
            depth = len(target.parts)
            beneath = (other for other in self._found if other.parts[:depth] == target.parts)
            return Piece(one.parts, target.parts, tuple(beneath), True)
        return Piece(one.parts, target.parts, (target,), bool(target.mode & 0o111))

    def _end_of(self, one: Found) -> Found:
        if self._links.leads_out(one.parts):
            raise TreeRefusedError(
                f"{shown(one.parts)} is a link that leads out of the work folder"
            )
        end = self._links.end_of(one.parts)
        if end is None or end not in self._at:
            raise TreeRefusedError(f"{shown(one.parts)} is a link that leads nowhere")
        return self._at[end]


def _together(chosen: Sequence[Found], found: Sequence[Found]) -> Piece:
    """One tree of all that was chosen, with the folders above it."""
    wanted = {one.parts for one in chosen}
    for one in chosen:
        wanted.update(one.parts[:depth] for depth in range(len(one.parts)))
    return Piece((), (), tuple(one for one in found if one.parts in wanted), True)
