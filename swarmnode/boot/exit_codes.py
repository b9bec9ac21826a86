"""Exit codes of the command line and of the node, stable for scripts and supervisors."""

from typing import Final

OK: Final = 0
ERROR: Final = 1
USAGE: Final = 2
"""A wrong flag, argument or configuration."""
UNREACHABLE: Final = 3
"""No node answers: start one with `swarmnode up`."""
AUTH: Final = 4
"""Not allowed: token, key or invite."""
NOT_FOUND: Final = 5
DEGRADED: Final = 6
"""It works, but not as it should: `status --check`, `doctor`."""
TEMPORARY: Final = 75
"""Try again later: no bids, a timeout (EX_TEMPFAIL of sysexits.h)."""
TASK_NOT_STARTED: Final = 125
TASK_NOT_INVOCABLE: Final = 126
TASK_NOT_FOUND: Final = 127
INTERRUPTED: Final = 130
READER_GONE: Final = 141
"""Whoever read our output went away, as the shell says it of SIGPIPE."""
