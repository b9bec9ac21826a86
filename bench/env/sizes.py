"""How much of everything `bench env` takes; smaller ones try it out, their figures say nothing."""

from typing import Self

import msgspec


class Sizes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The defaults are those of the figures."""

    files: int = 10_000
    """Of 10 KiB, in the folder that is sent again."""
    warm_mb: int = 2000
    """The environment whose second start is timed."""
    spread_mb: int = 256
    """The environment that is brought to one machine, and to all."""
    spread_nodes: int = 8
    line_mbit: float = 40.0
    """Of each of those machines, in each direction."""
    starts: int = 30
    """Of an executor and of bubblewrap by itself."""
    jobs: int = 1000
    """Of the node that is killed at random."""

    @classmethod
    def read(cls, text: str) -> Self:
        """Such as `warm_mb=2,jobs=40`. Raises msgspec.ValidationError."""
        chosen = dict(word.partition("=")[::2] for word in text.split(",") if word)
        return msgspec.convert(chosen, cls, strict=False)
