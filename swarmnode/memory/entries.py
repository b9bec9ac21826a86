"""Which checkpoints a task's folder holds, told from the names and times of what is in it.

Three conventions. *Numbered*: names that end in their step, such as `checkpoint-500/` or
`model-500.pt`; all names of one step are one checkpoint, and what has no number lies beside
them. *Marked*: a folder with a `step.json` that names the step and is written last. *Whole*: a
folder with neither is one checkpoint itself, and each change of it the next step.

Names of what is not finished are passed over: programs write under them and rename.
"""

import json
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from swarmnode.tree.format import EntryKind
from swarmnode.tree.names import Parts
from swarmnode.tree.scan import Found

MARKER: Final = b"step.json"
_FOLDER_STEP: Final = re.compile(rb"(\d{1,18})$")
_FILE_STEP: Final = re.compile(rb"(\d{1,18})(?:\.[A-Za-z]\w*)*$")
_UNFINISHED: Final = re.compile(
    rb"\.?(?:te?mp)(?:$|[-_.].*)|.*\.(?:te?mp|part|partial|incomplete)|.*~",
    re.DOTALL | re.IGNORECASE,
)


class CheckpointEntry(msgspec.Struct, frozen=True):
    """One checkpoint in the work folder."""

    step: int
    """0 for a whole folder: its step is one more than the last."""
    found: tuple[Found, ...]
    """All of it, in order, without the folders above."""
    is_marked: bool = False
    """The program itself said that it is complete."""
    is_beside: bool = True
    """Older ones lie beside it, and not in its place."""

    @property
    def was_placed(self) -> bool:
        """It got its name when it was complete: whatever is in it is older than its name."""
        if not self.found:
            return False
        depth = min(len(path.parts) for path in self.found)
        tops = {path.parts: path for path in self.found if len(path.parts) == depth}
        return all(top.was_placed for top in tops.values()) and all(
            path.changed_ns <= tops[path.parts[:depth]].changed_ns for path in self.found
        )


class FolderLook(msgspec.Struct, frozen=True):
    """What a folder held at one moment."""

    entries: tuple[CheckpointEntry, ...] = ()
    """The lowest step first."""
    loose: tuple[Found, ...] = ()
    """What lies beside numbered ones."""


def look_at(folder: Parts, paths: Sequence[Found], marked: int) -> FolderLook:
    """Sort what was found in a folder; `marked` is the step its marker names, 0 for none."""
    depth = len(folder)
    tops: dict[bytes, list[Found]] = {}
    for path in paths:
        if len(path.parts) > depth and not _UNFINISHED.fullmatch(path.parts[depth]):
            tops.setdefault(path.parts[depth], []).append(path)
    steps: dict[int, list[Found]] = {}
    loose: list[Found] = []
    for name, parts in tops.items():
        step = _step_of(name, parts[0].kind, has_marker=MARKER in tops)
        (loose if step is None else steps.setdefault(step, [])).extend(parts)
    entries = [CheckpointEntry(step, tuple(parts)) for step, parts in sorted(steps.items())]
    everything = tuple(path for parts in tops.values() for path in parts)
    has_file = any(path.kind is EntryKind.FILE for path in everything)
    if marked:
        entries.append(CheckpointEntry(marked, everything, is_marked=True, is_beside=False))
        loose = []
    elif not entries and has_file and MARKER not in tops:
        return FolderLook((CheckpointEntry(0, everything, is_beside=False),))
    ordered = sorted(entries, key=lambda entry: entry.step)
    return FolderLook(tuple(ordered), tuple(loose) if entries else ())


def _step_of(name: bytes, kind: EntryKind, *, has_marker: bool) -> int | None:
    if (
        name.startswith(b".")
        or kind is EntryKind.LINK
        or (kind is not EntryKind.FOLDER and has_marker)
    ):
        return None
    number = (_FOLDER_STEP if kind is EntryKind.FOLDER else _FILE_STEP).search(name)
    return int(number[1]) if number and int(number[1]) > 0 else None


def marked_step(marker: bytes) -> int:
    """The step a `step.json` names; 0 when it names none."""
    try:
        given = json.loads(marker)
    except (ValueError, RecursionError):
        return 0
    step = given.get("step") if isinstance(given, dict) else None
    return step if isinstance(step, int) and not isinstance(step, bool) and step > 0 else 0
