"""Every bound of the swarmnode package, with its reason."""

from typing import Final

# Execution
JOB_ID_CHARS_MAX: Final = 128
"""A task id and a fence; also a folder and a cgroup name, which may have 255 bytes."""

PATH_PARTS_MAX: Final = 16
"""Folders deep a file of a work folder may lie and still be read or written by the node."""

FILE_NAME_BYTES_MAX: Final = 1024
"""A whole relative name; Linux refuses a path above 4096 bytes."""

LISTED_FILES_MAX: Final = 4096
"""Files one listing may find: more belong into an archive the task makes itself."""

WALKED_ENTRIES_MAX: Final = 200_000
"""Entries of a work folder that are looked at; a task with more is over its disk limit."""

LOG_READ_BYTES_MAX: Final = 1024 * 1024
"""Largest piece of a log read at once: the largest frame it may travel in."""

FILE_CHUNK_BYTES: Final = 256 * 1024
"""Pieces in which files of a work folder are read and written."""

CTX_REQUEST_BYTES_MAX: Final = 1024 * 1024
"""One request of a task through its `ctx`: a small value and its key, never a checkpoint."""

CTX_CONNECTIONS_MAX: Final = 16
"""Connections one task may hold to the node: one per process of an ordinary training job."""

JOB_START_TIMEOUT_S: Final = 30.0
"""From the spawn of a shim to its first word; it takes 20 ms on an idle machine."""

KILL_TIMEOUT_S: Final = 5.0
"""How long a killed process tree may take to vanish before that is an error."""

# Memory
CHECKPOINTS_KEPT_MIN: Final = 2
"""Newest checkpoints of a task that are kept: the last may turn out to be bad."""

CHECKPOINT_FILES_MAX: Final = 256
"""Files of one checkpoint: a shard per process of a large job, and the list fits one message."""

STATE_KEY_CHARS_MAX: Final = 128
"""A key of `ctx.state`; with the task id it is a mutable name."""

STATE_VALUE_BYTES_MAX: Final = 32 * 1024
"""A value of `ctx.state`: it travels and rests inside one record; more is a checkpoint."""

STATE_RETRIES_MAX: Final = 8
"""Times a write that does not compare tries again before it gives the conflict back."""
