"""How far ahead a term or a fence that somebody tells of may be, and still be believed."""

from typing import Final

TERM_MAX: Final = 2**53
"""No keeper counts further."""

LEAP_MAX: Final = 2**26
"""Terms and fences that a keeper may have missed: one stands every few seconds, for years. A number
that somebody made up cannot end the counting, and with it the turns of all others."""


def is_near(number: int, known: int) -> bool:
    """Whether a term or fence may be true for whoever knows of that one."""
    return number <= min(TERM_MAX, known + LEAP_MAX)
