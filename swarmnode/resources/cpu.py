"""Levels of x86-64 processors: which one a machine has, and which one programs need. Pure."""

from collections.abc import Collection
from typing import Final

LEVEL_MAX: Final = 4
_LEVELS: Final = (
    ("sse2",),
    ("cx16", "lahf_lm", "pni", "popcnt", "sse4_1", "sse4_2", "ssse3"),
    ("abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"),
    ("avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"),
)
"""Flags as Linux calls them, each level's besides those below it (x86-64 psABI, 3.1.1)."""


def level_of(flags: Collection[str]) -> int:
    """The highest whose flags are all there; 0: no such processor, or nobody says."""
    level = 0
    for needed in _LEVELS:
        if not all(flag in flags for flag in needed):
            break
        level += 1
    return level


def named(level: int) -> str:
    """As compilers call it."""
    return "x86-64" if level <= 1 else f"x86-64-v{level}"


def is_below(has: int, needs: int) -> bool:
    """Whether one cannot run programs for the other; nobody knows where a machine says nothing."""
    return 0 < has < needs
