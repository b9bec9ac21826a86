"""Accepts connections for as long as the node lives, whatever the machine is short of.

accept(2) fails when the process or the machine has no descriptor or memory left, and for
connections that ended before they were taken: none of these is the listener's end. A listener
waits until there is a place (`Places`) before it accepts, so that what cannot be served waits in
the kernel's queue and costs nothing here. The last descriptors are never a connection's: files,
dials and tasks need them (`is_reserved`).
"""

import errno
import logging
import resource
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn, Protocol, TypeAlias

import trio

from p2p.limits import ACCEPT_PAUSE_S, ACCEPT_WARN_S, DESCRIPTORS_RESERVED

EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""The process or the machine has no descriptor or no memory left."""

_GONE_BEFORE: Final = frozenset(
    {
        errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ETIMEDOUT, errno.EHOSTDOWN,
        errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ENOPROTOOPT, errno.EOPNOTSUPP,
    }
)  # fmt: skip
"""Errors of one connection that accept(2) reports; EPERM is a firewall's."""

_TOO_MANY: Final = (
    "no more %s are taken: too many files are open; close some connections, or raise the limit "
    "(ulimit -n, LimitNOFILE=)"
)

log = logging.getLogger("swarm")


Listener: TypeAlias = trio.abc.Listener[trio.SocketStream]
Serve: TypeAlias = Callable[[trio.SocketStream], Awaitable[object]]


class Places(Protocol):
    """How many may be served at once."""

    async def free(self) -> None:
        """Return once one more connection may be accepted."""


async def accept_forever(
    listener: Listener,
    serve: Serve,
    places: Places | None = None,
    *,
    what: str = "connections",
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Accept until cancelled; each stream is closed when its `serve` has returned.

    `what` names the listener in the one line a minute that says that it had to pause.
    """
    warned_s = -ACCEPT_WARN_S
    async with trio.open_nursery() as nursery, listener:
        task_status.started()
        while True:
            if places is not None:
                await places.free()
            stream = await _accept_one(listener)
            if stream is not None:
                nursery.start_soon(_serve_one, stream, serve)
                continue
            if trio.current_time() - warned_s >= ACCEPT_WARN_S:
                warned_s = trio.current_time()
                log.warning(_TOO_MANY, what)
            await trio.sleep(ACCEPT_PAUSE_S)


async def _accept_one(listener: Listener) -> trio.SocketStream | None:
    """The next connection; None where there is no descriptor or no memory for it."""
    while True:
        try:
            stream = await listener.accept()
        except OSError as error:
            if error.errno in _GONE_BEFORE:
                continue
            if error.errno not in EXHAUSTED:
                raise
            return None
        if not is_reserved(stream.socket.fileno()):
            return stream
        await trio.aclose_forcefully(stream)
        return None


def is_reserved(descriptor: int) -> bool:
    """Whether a new descriptor is one of the last: the kernel gives the lowest that is free."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return False
    return descriptor >= limit - max(limit // 8, DESCRIPTORS_RESERVED)


async def _serve_one(stream: trio.SocketStream, serve: Serve) -> None:
    try:
        await serve(stream)
    finally:
        await trio.aclose_forcefully(stream)
