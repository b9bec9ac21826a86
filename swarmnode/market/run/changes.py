"""What a task added to its work folder or changed in it, told by the times of files."""

from collections.abc import Sequence
from typing import Final

import trio

from swarmnode.errors import TreeRefusedError
from swarmnode.limits import CHANGES_BYTES_MAX
from swarmnode.tasks.records import JobRecord
from swarmnode.tree.format import EntryKind
from swarmnode.tree.links import Links
from swarmnode.tree.names import Parts, parts_in
from swarmnode.tree.scan import Found
from swarmnode.tree.select import Piece

LEFT_BEHIND: Final = frozenset(
    {
        *(b"__pycache__", b"node_modules", b".venv", b"venv", b".ipynb_checkpoints"),
        *(b".pytest_cache", b".mypy_cache", b".ruff_cache"),
    }
)
"""What programs write for themselves, in any folder, is nobody's result."""
_AT_ONCE: Final = 2000
"""Names looked at before others have their turn: the task chose how many there are."""


async def changes(found: Sequence[Found], record: JobRecord, ordered_ns: int) -> Piece | None:
    """What is newer than its inputs as one tree; of a restored attempt its checkpoints, too.

    Not of hidden folders at the top, which are a program's own (the work folder is its home), nor
    links that lead out. None: nothing. Raises TreeRefusedError: it is more than is kept unasked.
    """
    spec = record.spec.checkpoint
    saved = parts_in(spec.folder) if spec is not None and record.restore is not None else None
    inhabited = {name.parts[:-1] for name in found if name.parts}
    links = Links({name.parts: name.target for name in found if name.target})
    new: set[Parts] = set()
    for number, name in enumerate(found):
        if number % _AT_ONCE == 0:
            await trio.lowlevel.checkpoint()
        is_saved = saved is not None and name.parts[: len(saved)] == saved
        is_new = (is_saved or name.changed_ns > ordered_ns) and _is_result(name)
        is_lived_in = name.kind is EntryKind.FOLDER and name.parts in inhabited
        if is_new and not is_lived_in and not (name.target and links.leads_out(name.parts)):
            new.update(name.parts[:depth] for depth in range(len(name.parts) + 1))
    chosen = tuple(name for name in found if name.parts in new)
    size = sum(name.size for name in chosen)
    if size > CHANGES_BYTES_MAX:
        raise TreeRefusedError(f"{size / 1024**3:.1f} GiB: name what is wanted of it (--out)")
    return Piece((), (), chosen, True) if new else None


def _is_result(name: Found) -> bool:
    is_own = len(name.parts) > 1 and name.parts[0].startswith(b".")
    is_hidden = name.kind is EntryKind.FOLDER and name.parts[:1] and name.parts[0][:1] == b"."
    is_named = bool(name.parts) and LEFT_BEHIND.isdisjoint(name.parts)
    return is_named and not is_own and not is_hidden
