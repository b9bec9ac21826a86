"""Bounds of what a task's programs can have of its node, with their reasons."""

from typing import Final

CONNECTIONS_MAX: Final = 1024
"""Of one task at once: two descriptors each; loaders and crawlers hold some hundreds."""

ADDRESSES_MAX: Final = 8
"""Of one name that are tried: the large ones give out eight; a zone of somebody's own, hundreds."""

ATTEMPTS_MAX: Final = 2
"""Of one connection under way at once: each is a descriptor, which is counted once for all."""

CONNECTIONS_PER_S: Final = 500
"""That it may make on the average; so many more wait in the kernel. One costs us half a ms."""

QUESTIONS_PER_S: Final = 2000
"""Of DNS, on the average; what comes faster waits in the kernel, and is lost there."""

NAMES_MAX: Final = 8192
"""That one task looks up: 2 MB at their longest; a crawler of more hosts is several tasks."""

RESOLVE_S: Final = 15.0
"""For the machine's resolver to answer: as long as most resolvers try."""

LOOKUPS_MAX: Final = 8
"""Of one task at once: 64 threads look up names for all tasks, and a name server that one of them
asks and that does not answer holds a thread for longer than RESOLVE_S."""

NOTES_MAX: Final = 64
"""Refusals told in a task's log: what it needs shows in the first few."""

BUFFER_BYTES: Final = 4 * 1024 * 1024
"""On the way in all connections of a task: many of them carry less at a time each."""
