"""What uv could not do, in plain words, and the line that helps. Reads files; blocking."""

import re
from pathlib import Path
from typing import Final

from swarmnode.project.environment.texts import text_of

_KEPT: Final = 12
"""Of what uv says, so many lines are shown: its reasoning is rarely longer."""
_HELP: Final = (
    (
        re.compile(r"no versions? of |only .{0,200} (?:is|are) available", re.IGNORECASE),
        "the index has no such version of it, as far as it fits this Python: name another one, or "
        "let the resolver choose",
    ),
    (
        re.compile(r"not found in (?:the|any) ", re.IGNORECASE),
        "is its name spelt as the index has it? A package that only some other index has needs "
        "that index: UV_INDEX=URL, or extra-index-url in pip.conf",
    ),
    (
        re.compile(r"no usable wheels|no wheels|"
                   r"building (?:source distributions |from source )?is disabled|"
                   r"has no binary|only-binary", re.IGNORECASE),
        "a package has no wheel for this Python and platform: --allow-build builds it in the "
        "sandbox, or name a version that has one",
    ),
    (
        re.compile(r"dns error|failed to lookup|error sending request|connection refused|"
                   r"network|timed out|could not connect", re.IGNORECASE),
        "the index cannot be reached from here: is there a network? A mirror is named by "
        "UV_DEFAULT_INDEX=URL, or index-url in pip.conf",
    ),
    (
        re.compile(r"401|403|unauthorized|forbidden", re.IGNORECASE),
        "the index wants to know who asks: put the credentials into ~/.netrc",
    ),
    (
        re.compile(r"unsatisfiable|conflict|incompatible", re.IGNORECASE),
        "two of the requirements exclude each other: loosen one of them",
    ),
)  # fmt: skip
_NO_WHEEL: Final = 2
_ORDER: Final = (3, 4, 2, 1, 0, 5)
"""Who cannot reach an index is told nothing about names."""
_REQUIREMENT: Final = re.compile(
    r"Couldn't parse requirement in `(.+)` at position (\d+)\n +cause: (.*)"
)
_PLACE: Final = re.compile(r"(Unexpected .*): (.+):(\d+):\d+$", re.MULTILINE)
_CONFLICT: Final = re.compile(r"<{7}|={7}|>{7}")


def no_requirement(file: Path, said: str) -> str:
    """The line that is none, in words, where uv says so; empty: it says something else.

    Raises ProjectError.
    """
    if found := _REQUIREMENT.search(said):
        if found[1] == "-":  # told by us, a line for each
            return f"{file.name}: {_shown(said)!r} is no requirement: {found[3]}"
        named = file.parent / found[1]
        before = text_of(named).encode()[: int(found[2])]
        line, why = before.count(b"\n") + 1, found[3]
    elif found := _PLACE.search(said):
        named, line, why = file.parent / found[2], int(found[3]), found[1]
    else:
        return ""
    text = text_of(named).splitlines()[line - 1].strip()
    if _CONFLICT.match(text):
        why = "it is left from a merge"
    return f"{named.name}, line {line}: {text!r} is no requirement: {why}"


def _shown(said: str) -> str:
    """The requirement, as uv shows it above the place that it points at."""
    lines = [line.strip() for line in said.splitlines()]
    marked = next((number for number, line in enumerate(lines) if set(line) == {"^"}), 0)
    return lines[marked - 1]


def words_for(file: Path, said: str) -> str:
    """What went wrong with a file, and what helps. Raises ProjectError."""
    if wrong := no_requirement(file, said):
        return wrong
    name = file.name
    told = "\n".join(f"  {line}" for line in said.strip().splitlines()[-_KEPT:])
    for number in (_NO_WHEEL,) if "hint:" in said else _ORDER:  # uv's own hints help, but there
        pattern, remedy = _HELP[number]
        if pattern.search(said):
            return f"{name} cannot be resolved:\n{told}\n{remedy}"
    return f"{name} cannot be resolved:\n{told}"
