"""Every bound of the local API, with its reason."""

from typing import Final

API_PINGS_MAX: Final = 20
"""Round trips measured in one request: one after another, and somebody waits for them."""

API_TOKENS_MAX: Final = 256
"""Tokens in one file: each request is compared with all of them."""

API_TOKENS_PER_PERSON_MAX: Final = 16
"""Of one who was let in: they leave room for the owner's, and for each other's."""

API_CONNECTIONS_MAX: Final = 512
"""Connections to one listener: a sweep's `task wait` each, a dashboard, a proxy; 40 KB each."""

API_CONNECTIONS_PER_SOURCE_MAX: Final = 384
"""Of one host, or of one user on the unix socket: the rest stays free for somebody else."""

API_HEAD_BYTES_MAX: Final = 16 * 1024
"""Head of a request: tokens and paths of ours have a tenth of that."""

API_HEAD_S: Final = 5.0
"""From the accept, or the last answer, to the end of a request's head."""

API_BODY_STALL_S: Final = 60.0
"""A body of which nothing came for so long will not come: its disk or its line hangs."""

API_REPLY_STALL_S: Final = 300.0
"""A reader that took nothing for so long is gone; a pager may stop for a while (`logs | less`)."""

API_RECEIVE_BYTES: Final = 256 * 1024
"""Read from a socket at once: larger reads do not make a put faster."""

API_SEND_BYTES: Final = 256 * 1024
"""Written at once, so that the stall of a reader is measured from its last sign of life."""

API_BACKLOG: Final = 128
"""Connections that wait in the kernel to be accepted: a shell loop of commands at once."""

API_EVICTION_PAUSE_S: Final = 0.002
"""Between two newcomers that take somebody's place: a flood of them costs a tenth of a core."""

API_REFUSAL_S: Final = 1.0
"""What a newcomer for whom there is no place gets to be told so."""

API_REFUSALS_AT_ONCE_MAX: Final = 16
"""Of them; a flood of them is hung up on without a word."""
