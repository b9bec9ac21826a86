"""Bounds of what tasks and hosts of the internet can have of a mirror, with their reasons."""

from typing import Final

MIB: Final = 1024 * 1024

MIRROR_FILE_PARTS: Final = 2
"""A file may take this part of all that is kept: a larger one would leave no room for others."""

MIRROR_FILES_MAX: Final = 50_000
"""Kept on one machine, index pages among them: some 10 MB of memory to know them."""

MIRROR_CONNECTIONS_MAX: Final = 128
"""Of one task at once, and so of files on their way for it: uv and loaders of models hold fifty."""

PAGES_AT_ONCE: Final = 8
"""Index pages and answers of the hub's API on their way to one task: each is in memory whole, once
while it is sent."""

PAGE_GIVEN_S: Final = 60.0
"""For a task to take one: it comes from this machine's memory, where 64 MiB take a moment; who does
not read has it broken off."""

ASK_HEAD_BYTES_MAX: Final = 32 * 1024
"""Of a request: signed addresses of the hub take a few KiB."""

UPSTREAM_HEAD_BYTES_MAX: Final = 64 * 1024
"""Of an answer of the internet: policies in headers of the hub take some KiB."""

INDEX_BYTES_MAX: Final = 64 * MIB
"""An index page, unpacked: that of the largest project of PyPI takes some 20 MB."""

PAGE_BYTES_MAX: Final = 8 * MIB
"""An answer of the hub's API that is kept for when it cannot be reached; longer ones pass by."""

GIT_FILE_BYTES_MAX: Final = 64 * MIB
"""A file named by git's SHA-1: the hub has those over 10 MB under a SHA-256."""

IDLE_MAX: Final = 8
"""Connections to the internet kept open for one task that may ask more."""

IDLE_S: Final = 10.0
"""For so long: hosts end them after a minute or less, and each holds an open file."""

REDIRECTS_MAX: Final = 5
"""Of one request to the internet: the hub and its CDN take two."""

UPSTREAM_HEAD_S: Final = 30.0
"""For a handshake, and for an answer to begin: clients give up at about that time themselves."""

PASSED_HEAD_S: Final = 600.0
"""For an answer to what is passed on: the hub takes minutes for a large commit."""

UPSTREAM_STALL_S: Final = 60.0
"""Without a byte: what comes slower than that is broken off, and begun anew by who wants it."""

ASK_IDLE_S: Final = 120.0
"""A connection of a task that asks nothing, or does not come to the end of asking."""

AHEAD_BYTES: Final = 8 * MIB
"""A file comes no further ahead than this of who reads it fastest: a task that asks and does not
read has fetched no more."""

ASKED_MAX: Final = 16
"""Machines of our lab asked for a file."""

ASK_LAB_S: Final = 1.0
"""For them to answer: a program waits meanwhile."""

LAB_STALL_S: Final = 10.0
"""For one piece of a file from one of them: slower than four of them in that time it comes from the
internet instead, and the machine is not asked for a while."""

LAB_PIECE_BYTES: Final = MIB
"""Of a file that goes to another machine of our lab, in one reply."""

LAB_PIECES_AT_ONCE: Final = 4
"""Of them asked for at once: a line of 100 ms carries 40 MB/s so."""

SHUNNED_S: Final = 600.0
"""A machine whose bytes were not what was asked for is not asked for so long."""
