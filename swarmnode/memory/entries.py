"""Which checkpoints a task's folder holds, told from the names and sizes of its files.

Two conventions. Numbered entries: a folder (or a file) whose name ends in its step, such as
`checkpoint-500/` or `model-500.pt`; or one folder with a `step.json` that names the step and is
written last. Either is complete once it has its final name: programs write under a hidden name
and rename. For those that do not, an entry counts only when two looks find it the same.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from swarmnode.executor.port import FileStat

MARKER: Final = "step.json"
_FOLDER_STEP: Final = re.compile(r"(\d{1,18})$")
_FILE_STEP: Final = re.compile(r"(\d{1,18})(?:\.[A-Za-z]\w*)*$")


@dataclass(frozen=True, slots=True)
class Entry:
    """One checkpoint in the work folder."""

    step: int
    pattern: str
    """Glob of its files."""
    files: "tuple[FileStat, ...]" = ()


def numbered_entries(folder: str, files: "Sequence[FileStat]") -> list[Entry]:
    """Entries of the first convention, lowest step first; of the files below `folder`."""
    has_marker = any(file.name == f"{folder}/{MARKER}" for file in files)
    found: dict[str, tuple[int, list[FileStat]]] = {}
    for file in files:
        head, slash, _ = file.name.removeprefix(f"{folder}/").partition("/")
        if not slash and has_marker:
            continue
        number = (_FOLDER_STEP if slash else _FILE_STEP).search(head)
        if number:
            pattern = f"{folder}/{head}{'/**' if slash else ''}"
            found.setdefault(pattern, (int(number[1]), []))[1].append(file)
    entries = [Entry(step, pattern, tuple(parts)) for pattern, (step, parts) in found.items()]
    return sorted(entries, key=lambda entry: (entry.step, entry.pattern))


def marked_step(marker: bytes) -> int:
    """The step a `step.json` names; 0 when it names none."""
    try:
        given = json.loads(marker)
    except (ValueError, RecursionError):
        return 0
    step = given.get("step") if isinstance(given, dict) else None
    return step if isinstance(step, int) and not isinstance(step, bool) and step > 0 else 0


def newest_settled(
    entries: Iterable[Entry], before: Iterable[Entry], above_step: int
) -> Entry | None:
    """The highest entry above a step that was the same at the look before."""
    known = set(before)
    settled = [entry for entry in entries if entry.step > above_step and entry in known]
    return max(settled, key=lambda entry: entry.step, default=None)
