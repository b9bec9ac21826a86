"""What of a project's folder goes along, as it lies there now. Blocking."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from swarmnode.errors import ProjectError
from swarmnode.limits import PROJECT_BYTES_MAX, PROJECT_NAMES_MAX, PROJECT_NAMES_SEEN_MAX
from swarmnode.project import git
from swarmnode.project.rules import IGNORE_FILE, NEVER, Listing, Rules
from swarmnode.tree.format import EntryKind
from swarmnode.tree.names import Parts, joined, text_of
from swarmnode.tree.scan import Found, Special, scan

LARGEST_SHOWN: Final = 5
_SHARE_OF_ONE: Final = 0.8
"""A folder of which one inner folder makes up as much is not the place to look at."""


class Chosen(msgspec.Struct, frozen=True):
    """What goes along, in the order of a tree, and what does not."""

    found: tuple[Found, ...]
    passed_over: tuple[Parts, ...]
    """Left out by rule, folders by their own names."""
    specials: tuple[Special, ...]
    """Sockets, pipes and devices, which nobody can send."""
    not_here: frozenset[Parts] = frozenset()
    """Of what is passed over, submodules that are not checked out."""

    @property
    def files(self) -> int:
        """Names that are not folders."""
        return sum(name.kind is not EntryKind.FOLDER for name in self.found)

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(name.size for name in self.found)


def choose(root: Path, environ: Mapping[str, str], *, takes_all: bool = False) -> Chosen:
    """Look at the folder. `takes_all`: git is not asked, and nothing usual is left out.

    Raises ProjectError (too much, nothing at all, git or `.swarmignore` at fault),
    TreeRefusedError (a name that cannot be kept), OSError.
    """
    listing = None if takes_all else _listed(root, environ)
    rules = Rules(_ignored(root), listing, takes_all=takes_all)
    looked = scan(str(root), entries_max=PROJECT_NAMES_SEEN_MAX, choosing=rules)
    found = _without_skeletons(looked.found, rules)
    not_here = listing.not_here if listing else frozenset[Parts]()
    choice = Chosen(found, _folded(looked.passed_over, found), looked.left_out, not_here)
    _check_size(choice)
    if choice.passed_over and not choice.files:
        raise ProjectError(
            f"nothing in {text_of(bytes(root))} goes along: git ignores all of it "
            f"(--all-files sends it), or {IGNORE_FILE} does"
        )
    return choice


def _without_skeletons(found: Sequence[Found], rules: Rules) -> tuple[Found, ...]:
    """Without folders in which nothing goes along, unless they do so by themselves."""
    files = (name.parts for name in found if name.kind is not EntryKind.FOLDER)
    above = {parts[:depth] for parts in files for depth in range(len(parts))}
    return tuple(
        name
        for name in found
        if name.kind is not EntryKind.FOLDER
        or not name.parts
        or name.parts in above
        or rules.keeps_empty(name.parts)
    )


def _folded(passed_over: Sequence[Parts], found: Sequence[Found]) -> tuple[Parts, ...]:
    """Each by the highest folder of which nothing goes along; without histories."""
    kept = {name.parts for name in found}
    tops: dict[Parts, None] = {}
    for parts in passed_over:
        above = (parts[:depth] for depth in range(1, len(parts)))
        top = next((folder for folder in above if folder not in kept), parts)
        if not any(part in NEVER for part in top):
            tops[top] = None
    return tuple(tops)


def _ignored(root: Path) -> Sequence[str]:
    file = root / IGNORE_FILE
    if file.exists() and not file.is_file():
        raise ProjectError(f"{IGNORE_FILE} is no file")
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        return ()
    lines = text.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return [line.removesuffix(b"\r").decode("utf-8", "surrogateescape") for line in lines]


def _listed(root: Path, environ: Mapping[str, str]) -> Listing | None:
    return git.listed(root, environ) if git.is_in_git(root) else None


def _check_size(choice: Chosen) -> None:
    size, names = choice.size_bytes, len(choice.found)
    if size <= PROJECT_BYTES_MAX and names <= PROJECT_NAMES_MAX:
        return
    by_names = size <= PROJECT_BYTES_MAX
    what = f"{names} names" if by_names else f"{size / 1024**3:.1f} GiB"
    limit = f"{PROJECT_NAMES_MAX} names" if by_names else f"{PROJECT_BYTES_MAX // 1024**3} GiB"
    rows = "\n".join(
        f"  {_amount(amount, by_names):>12}  {folder}"
        for folder, amount in largest(choice.found, by_names)
    )
    raise ProjectError(
        f"{what} would go along, and {limit} at most may; the largest folders:\n{rows}\n"
        f"leave out what the program does not need ({IGNORE_FILE}, written like .gitignore), or "
        "store data once (swarmnode obj put) and give it by --in"
    )


def _amount(amount: int, by_names: bool) -> str:
    return f"{amount} names" if by_names else f"{amount / 1024**2:.1f} MiB"


def largest(found: Sequence[Found], by_names: bool) -> list[tuple[str, int]]:
    """The folders that have most, each with all beneath it; never one for the sake of another."""
    totals: Counter[Parts] = Counter()
    for name in found:
        if name.kind is not EntryKind.FOLDER:
            for depth in range(len(name.parts)):
                totals[name.parts[:depth]] += 1 if by_names else name.size
    biggest: dict[Parts, int] = {}
    for parts, amount in totals.items():
        if parts:
            biggest[parts[:-1]] = max(biggest.get(parts[:-1], 0), amount)
    chosen: list[Parts] = []
    for parts, amount in totals.most_common():
        is_inner = biggest.get(parts, 0) >= _SHARE_OF_ONE * amount
        is_within = any(parts[: len(above)] == above for above in chosen)
        if not is_inner and not is_within and parts:
            chosen.append(parts)
        if len(chosen) == LARGEST_SHOWN:
            break
    return [(f"{text_of(joined(parts))}/", totals[parts]) for parts in chosen]
