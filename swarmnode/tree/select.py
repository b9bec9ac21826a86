"""What patterns mean in a folder: which of its parts go together as one object, which alone.

A folder that is meant is one tree with everything in it. A file is its own bytes, a program (with
the right to run) a tree of its own. A link that is meant by itself stands for what it leads to: who
asks for `latest.pt` wants a model, not a way to where it was. Many single files are one tree.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from swarmnode.errors import TreeRefusedError
from swarmnode.limits import OUTPUTS_APART_MAX, TREE_ENTRIES_MAX
from swarmnode.tree.format import EntryKind, shown
from swarmnode.tree.limits import OUTPUT_MATCHES_MAX
from swarmnode.tree.links import Links
from swarmnode.tree.names import Parts, text_of
from swarmnode.tree.pattern import Pattern
from swarmnode.tree.scan import Found, inside_of, relative

_MIB: Final = 1024 * 1024


class Piece(msgspec.Struct, frozen=True):
    """What becomes one object."""

    name: Parts
    """Where it is to be; `()` is the folder itself."""
    base: Parts
    """Where it is."""
    found: tuple[Found, ...]
    is_tree: bool


class Selection(msgspec.Struct, frozen=True):
    """What was meant, and what nothing was found for."""

    pieces: tuple[Piece, ...]
    missing: tuple[str, ...]
    """Patterns that nothing matches."""
    faults: tuple[str, ...] = ()
    """What was meant and cannot be kept, in words."""


def select(
    seen: Sequence[Found], patterns: Iterable[Pattern], roots: Sequence[bytes] = ()
) -> Selection:
    """Cut what was found (everything beneath a folder, in order) into the objects to be made.

    `roots`: the absolute names of the folder. A link that leads out of its object is left out of
    it, and so are names that it cannot hold; each is a fault.
    In time that grows with names times patterns. Raises TreeRefusedError for too many of both.
    """
    meant = _Meant(seen, tuple(patterns))
    pieces, faults = _apart(meant, _Places(seen))
    if len(pieces) > OUTPUTS_APART_MAX:
        pieces, faults = [_together(meant.chosen, seen)], []
    kept: list[Piece] = []
    for piece in pieces:
        whole, out = closed(piece, roots)
        fitting, beyond = _fitting(whole)
        kept.append(fitting)
        faults += filter(None, (out, beyond))
    return Selection(tuple(kept), meant.missing, tuple(faults))


def within(chosen: Selection, bytes_max: int) -> Selection:
    """Without the pieces that would make all of them larger than that, each a fault.

    Holes count as the bytes that they are read as: they cost whoever made them nothing.
    """
    pieces: list[Piece] = []
    faults: list[str] = []
    left = bytes_max
    for piece in chosen.pieces:
        size = bytes_in(piece.found)
        if size > left:
            faults.append(f"left out: {too_large(piece.name, size, bytes_max)}")
            continue
        pieces.append(piece)
        left -= size
    return Selection(tuple(pieces), chosen.missing, (*chosen.faults, *faults))


def bytes_in(found: Iterable[Found]) -> int:
    """As they are read, files with several names once."""
    return sum({name.inode: name.size for name in found if name.kind is EntryKind.FILE}.values())


def too_large(name: Parts, size: int, bytes_max: int) -> str:
    """Why a task may not leave it."""
    return (
        f"{shown(name)} has {size / _MIB:.0f} MiB, holes included; all that a task leaves may be "
        f"as large as its disk and what it was given, {bytes_max / _MIB:.0f} MiB: ask for more disk"
    )


def _apart(meant: "_Meant", places: "_Places") -> tuple[list[Piece], list[str]]:
    """Each folder and each file by itself, and what cannot be kept; no more than tell too many."""
    pieces = [Piece(top, top, tuple(beneath), True) for top, beneath in meant.tops]
    faults: list[str] = []
    for name in meant.loose:
        if len(pieces) > OUTPUTS_APART_MAX:
            break
        try:
            pieces.append(places.alone(name))
        except TreeRefusedError as error:
            faults.append(str(error))
    return pieces, faults


def closed(piece: Piece, roots: Sequence[bytes]) -> tuple[Piece, str]:
    """Without its links that lead out of it, and what is to be said of them.

    `roots`: as for `select`.
    """
    depth = len(piece.base)
    inside = inside_of(*(b"/".join([root, *piece.base]) for root in roots))
    targets = {
        name.parts: relative(name.target, len(name.parts) - depth - 1, inside)
        for name in piece.found
        if name.kind is EntryKind.LINK
    }
    links = Links({parts[depth:]: target for parts, target in targets.items()})
    try:
        out = [parts for parts in targets if links.leads_out(parts[depth:])]
    except TreeRefusedError as error:
        out, why = list(targets), f"left out all links of {shown(piece.name)}: {error}"
    else:
        why = _told_of(out, targets) if out else ""
    left = frozenset(out)
    found = tuple(name for name in piece.found if name.parts not in left)
    return msgspec.structs.replace(piece, found=found), why


def _fitting(piece: Piece) -> tuple[Piece, str]:
    """Its first names, as many as one tree has, and what is to be said of the others."""
    beyond = piece.found[TREE_ENTRIES_MAX:]
    if not beyond:
        return piece, ""
    return msgspec.structs.replace(piece, found=piece.found[:TREE_ENTRIES_MAX]), (
        f"left out: {len(beyond)} of the {len(piece.found)} names in {shown(piece.name)}, from "
        f"{shown(beyond[0].parts)} on: name its folders as outputs of their own, or pack its files "
        "into fewer"
    )


def _told_of(out: Sequence[Parts], targets: Mapping[Parts, bytes]) -> str:
    more = f" (and {len(out) - 1} more links)" if len(out) > 1 else ""
    return (
        f"left out: {shown(out[0])} is a link that leads out of the folder, to "
        f"{text_of(targets[out[0]])!r}{more}"
    )


class _Meant:
    """Which names the patterns mean."""

    def __init__(self, seen: Sequence[Found], patterns: tuple[Pattern, ...]) -> None:
        self.tops: list[tuple[Parts, list[Found]]] = []
        """Folders, each with what is beneath it."""
        self.loose: list[Found] = []
        self.chosen: list[Found] = []
        self._names = _by_name(patterns)
        self._wild = [pattern for pattern in patterns if pattern.name is None]
        if len(seen) * len(self._wild) > OUTPUT_MATCHES_MAX:
            raise TreeRefusedError(
                f"{len(seen)} names are too many for {len(self._wild)} patterns of outputs: "
                "name folders instead"
            )
        self._open = dict.fromkeys(pattern.text for pattern in patterns)
        for name in seen:
            self._look(name)
        self.missing = tuple(self._open)

    def _look(self, name: Found) -> None:
        is_meant = self._is_meant(name)
        top, beneath = self.tops[-1] if self.tops else (name.parts, [])
        if self.tops and name.parts[: len(top)] == top:
            self.chosen.append(name)
            beneath.append(name)
        elif is_meant:
            self.chosen.append(name)
            if name.kind is EntryKind.FOLDER:
                self.tops.append((name.parts, [name]))
            else:
                self.loose.append(name)

    def _is_meant(self, name: Found) -> bool:
        by = list(self._names.get(name.parts, ()))
        by += [pattern for pattern in self._wild if pattern.matches(name.parts)]
        by = [pattern for pattern in by if name.kind is EntryKind.FOLDER or not pattern.is_folder]
        for pattern in by:
            self._open.pop(pattern.text, None)
        return bool(by)


def _by_name(patterns: Iterable[Pattern]) -> dict[Parts, list[Pattern]]:
    """Those without a wildcard."""
    names: dict[Parts, list[Pattern]] = {}
    for pattern in patterns:
        if pattern.name is not None:
            names.setdefault(pattern.name, []).append(pattern)
    return names


class _Places:
    """Where single files are, and what links lead to."""

    def __init__(self, seen: Sequence[Found]) -> None:
        self._seen = seen
        self._at = {name.parts: name for name in seen}
        self._links = Links({name.parts: name.target for name in seen if name.target})

    def alone(self, name: Found) -> Piece:
        """A single file, under its own name or that of a link to it. Raises TreeRefusedError."""
        if name.kind is not EntryKind.LINK:
            return Piece(name.parts, name.parts, (name,), bool(name.mode & 0o111))
        target = self._end_of(name)
        if target.kind is EntryKind.FOLDER:
            depth = len(target.parts)
            beneath = (other for other in self._seen if other.parts[:depth] == target.parts)
            return Piece(name.parts, target.parts, tuple(beneath), True)
        return Piece(name.parts, target.parts, (target,), bool(target.mode & 0o111))

    def _end_of(self, name: Found) -> Found:
        if self._links.leads_out(name.parts):
            raise TreeRefusedError(
                f"{shown(name.parts)} is a link that leads out of the work folder"
            )
        end = self._links.end_of(name.parts)
        if end is None or end not in self._at:
            raise TreeRefusedError(f"{shown(name.parts)} is a link that leads nowhere")
        return self._at[end]


def _together(chosen: Sequence[Found], seen: Sequence[Found]) -> Piece:
    """One tree of all that was chosen, with the folders above it."""
    wanted = {name.parts for name in chosen}
    for name in chosen:
        wanted.update(name.parts[:depth] for depth in range(len(name.parts)))
    return Piece((), (), tuple(name for name in seen if name.parts in wanted), True)
