"""What uv could not do, in plain words, and the line that helps."""

import re
from typing import Final

_KEPT: Final = 12
"""Of what uv says, so many lines are shown: its reasoning is rarely longer."""
_HELP: Final = (
    (
        re.compile(r"(?:not found in (?:the|any)|no versions? of) ", re.IGNORECASE),
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
_NO_WHEEL: Final = 1
_ORDER: Final = (2, 3, 1, 0, 4)
"""Who cannot reach an index is told nothing about names."""


def words_for(name: str, said: str) -> str:
    """What went wrong with a file, and what helps."""
    told = "\n".join(f"  {line}" for line in said.strip().splitlines()[-_KEPT:])
    for number in (_NO_WHEEL,) if "hint:" in said else _ORDER:  # uv's own hints help, but there
        pattern, remedy = _HELP[number]
        if pattern.search(said):
            return f"{name} cannot be resolved:\n{told}\n{remedy}"
    return f"{name} cannot be resolved:\n{told}"
