"""What can be said of a node that died under a job: when, as well as anybody knows."""

from typing import Final

SEEN_EVERY_S: Final = 5.0
"""How often a node notes that it lives: one that died was seen last up to so long before."""


def death_words(seen_ms: int) -> str:
    """For people, of a node that was last seen so long after the start of a job."""
    first_s = seen_ms / 1000
    return (
        f"its machine's node died {first_s:.0f} to {first_s + SEEN_EVERY_S:.0f} s after the start"
    )
