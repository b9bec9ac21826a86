"""Every bound of datasets, with its reason; how many one task has is in swarmnode.limits."""

from typing import Final

DATA_WAIT_S: Final = 300.0
"""A read waits so long for a source that cannot be reached: a machine that reboots is back then."""

DATA_CHUNKS_MAX: Final = 250_000
"""Chunks that one machine keeps on disk: 2 TB, and 25 MB of memory to know them."""

DATA_NAMES_MAX: Final = 400_000
"""Names in all datasets that the tasks of one machine see: 350 bytes each, 140 MB in all."""

DATA_HOT_BYTES_MAX: Final = 96 * 1024 * 1024
"""Chunks in memory: twelve, for two programs that read in order, each four ahead of itself."""

DATA_WEB_CONNECTIONS_MAX: Final = 32
"""By HTTP to the datasets of one task: one for each of its data loaders, a file of ours each."""

DATA_NOTES_MAX: Final = 16
"""Lines about its datasets in one job's log: more of them tell nothing new."""
