"""Where a bug under one job ends: its trace is logged, that job ends, the node goes on.

The one broad except besides that of the API's requests. What is the whole node's still ends it:
cancellation, alone or in a group, and tables of which nobody knows what is on disk.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from storage.errors import StoreFailedError

log = logging.getLogger("swarm")


class Bound(msgspec.Struct):
    """What became of a contained stretch of work."""

    has_faulted: bool = False


@contextmanager
def contained(what: str) -> Iterator[Bound]:
    """Whatever nobody foresaw ends here; the caller asks `has_faulted` and ends the job.

    `what` names the job, or its task or connection, in the log.
    """
    bound = Bound()
    try:
        yield bound
    except Exception as fault:
        if _is_the_nodes(fault):
            raise
        bound.has_faulted = True
        log.exception("a fault of this node ends %s and nothing else", what)


def _is_the_nodes(fault: Exception) -> bool:
    if isinstance(fault, ExceptionGroup):
        return fault.subgroup(StoreFailedError) is not None
    return isinstance(fault, StoreFailedError)
