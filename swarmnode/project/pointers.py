"""Files of a project that stand for others: what git-lfs leaves where it has not fetched them."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from swarmnode.tree.format import EntryKind
from swarmnode.tree.names import Parts
from swarmnode.tree.scan import Found

_BEGINS: Final = b"version https://git-lfs.github.com/spec/v1\n"
"""https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md"""
_SIZES: Final = range(len(_BEGINS), 1024)
_RULES: Final = b".gitattributes"


def pointers_in(root: Path, found: Sequence[Found]) -> Iterator[Parts]:
    """Those among what was found; read only where some rule of git's may have made them. Blocking.

    What cannot be read is passed over: whoever sends it says so.
    """
    if not any(name.parts and name.parts[-1] == _RULES for name in found):
        return
    for name in found:
        if name.kind is EntryKind.FILE and name.size in _SIZES:
            try:
                with root.joinpath(*map(os.fsdecode, name.parts)).open("rb") as file:
                    is_one = file.read(len(_BEGINS)) == _BEGINS
            except OSError:
                continue
            if is_one:
                yield name.parts
