"""Every bound of relaying, with its reason."""

from typing import Final

CIRCUITS_MAX: Final = 256
"""Circuits carried at once, those for bulk apart: 22 machines that all talk by one relay, and
128 MiB in their windows at the worst."""

CIRCUITS_PER_PEER_MAX: Final = 36
"""The same that end at one machine: with their windows 9 of the 16 MiB that it may leave unread."""

CIRCUITS_PER_PAIR_MAX: Final = 4
"""The same between two machines, which use one: nobody takes all that another may have."""

CIRCUITS_BULK_MAX: Final = 32
"""Circuits for bulk carried at once: 64 MiB in their windows at the worst."""

CIRCUITS_BULK_PER_PEER_MAX: Final = 6
"""The same that end at one machine: 6 MiB more. Who gets none sends bulk on its first circuit."""

CIRCUIT_WINDOW_BYTES: Final = 256 * 1024
"""What a relay holds at most of one direction of a circuit: enough for calls on any path."""

CIRCUIT_BULK_WINDOW_BYTES: Final = 1024 * 1024
"""The same of a circuit for bulk: 200 Mbit/s at 40 ms from an end to the relay."""

CIRCUIT_PIECE_BYTES: Final = 64 * 1024
"""Handed on at once: a heartbeat waits for one, which is 2.6 ms of 200 Mbit/s."""

CIRCUIT_BACKLOG_BYTES: Final = 32 * 1024
"""A circuit for bulk adds to what waits for a socket only below this: calls that are carried come
before it."""

CIRCUIT_CALLS_BACKLOG_BYTES: Final = 48 * 1024
"""The same of other circuits: with a piece more it is below what lanes may fill, so that frames of
the relay's own find room in front of the socket at any time."""

CIRCUIT_MESSAGE_BYTES_MAX: Final = 1024
"""A message about a circuit: a peer id, or a code and a line for people."""

CIRCUIT_REQUESTS_BURST: Final = 84
"""Circuits one peer may ask for, or offer, at once: twice all it may have."""

CIRCUIT_REQUESTS_PER_S: Final = 2.0
"""And in the long run: one that is opened costs both ends a handshake."""

CIRCUITS_ARRIVING_MAX: Final = 16
"""Circuits offered by one relay whose far ends are not admitted yet: each is at its handshake."""

RELAYS_KNOWN_MAX: Final = 1024
"""Members known to carry circuits: as many as there are connections."""
