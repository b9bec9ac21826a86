"""Bounds of renewal, each with its reason."""

from typing import Final

ASK_EVERY_S_MIN: Final = 1.0
"""Memberships of a minute exist in tests only; even those need not be asked for more often."""

ASK_EVERY_S_MAX: Final = 3600.0
"""Half of a year is left when asking begins: an hour is often enough, and for who was asleep."""

ASKS_PER_LIFE: Final = 64
"""In between: so many tries in the life of a certificate, half of them before its end."""

ASKED_MAX: Final = 16
"""Peers asked in one round, likeliest first: those that hold a key are few."""

ASK_S: Final = 5.0
"""A peer signs at once or not at all."""

SERVED_PER_S: Final = 1.0
"""Renewals signed for one peer: each costs about ten signatures checked and three made."""

SERVED_BURST: Final = 4
"""The same at once."""
