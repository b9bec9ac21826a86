"""Bounds of spreading the register, each with its reason."""

from typing import Final

FANOUT: Final = 16
"""Peers told of a new entry at once: so many reach 300 machines by push alone."""

RECONCILE_S: Final = 10.0
"""Registers are compared with one peer this often: what push missed is heard within a minute."""

SWEEP_S: Final = 1.0
"""Whether somebody connected is out or has lapsed is looked at this often, and at every entry."""

ENTRIES_BYTES_MAX: Final = 40 * 1024
"""Entries in one message: with the frame around them they stay below a control frame."""

ENTRIES_PER_MESSAGE_MAX: Final = 16
"""The same as a count: a use has up to 200 values, and 4,096 may stand in a message."""

ANSWER_MESSAGES_MAX: Final = 16
"""Messages of entries in one answer; the next comparison brings the rest."""

ENTRIES_BURST: Final = 256
"""Entries one peer may bring at once: each costs up to ten signature checks, about 1 ms."""

ENTRIES_PER_S: Final = 20.0
"""And in the long run: two percent of a core."""

COMPARED_BURST: Final = 16
"""Comparisons one peer may ask for at once: it has come up a few times within a minute."""

COMPARED_PER_S: Final = 0.5
"""And in the long run: it compares every ten seconds, and an answer is up to 700 KB."""

UNKEPT_MAX: Final = 4096
"""Entries that wait to be written while the disk is full; beyond that they are heard again."""
