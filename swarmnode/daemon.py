"""The node process, which `swarmnode run` becomes: its lock, an operator's faults, exit codes.

What it serves is imported late: a fault in the configuration or a second node is told within a
tenth of a second, and nothing is collected while hundreds of modules are loaded.
"""

import contextlib
import fcntl
import gc
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from p2p.errors import IdentityError, ListenError, UnwritableFileError
from storage.errors import StorageError
from swarmnode import exit_codes as exits
from swarmnode.config_load import load
from swarmnode.errors import AlreadyRunningError, ConfigError, SwarmError
from swarmnode.home import Home, locate
from swarmnode.logs import set_up


@contextlib.contextmanager
def only_one(home: Home) -> Iterator[None]:
    """Hold the home's lock. Raises AlreadyRunningError when another node has it."""
    fd = os.open(home.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            pid = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
            raise AlreadyRunningError(
                f"a node already runs in {home.state} (pid {pid}): stop it, or set another "
                "SWARM_HOME"
            ) from exc
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


EXIT_OF: Final[Sequence[tuple[type[Exception], int]]] = (
    (ConfigError, exits.USAGE),
    (UnwritableFileError, exits.ERROR),
    (IdentityError, exits.AUTH),
    (ListenError, exits.ERROR),
    (StorageError, exits.ERROR),
    (SwarmError, exits.ERROR),
)
"""Errors of the operator's side -> exit code; anything else is a bug and ends with its trace."""

KNOWN: Final = tuple(kind for kind, _ in EXIT_OF)


def main() -> int:
    """Start, serve, stop; the exit code."""
    failure: BaseException | None = None
    stopped = False
    try:
        _start()
    except* KNOWN as group:
        failure = group
    except* KeyboardInterrupt:  # before the node listens to signals itself
        stopped = True
    if stopped:
        return exits.INTERRUPTED
    if failure is None:
        return exits.OK
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    print(f"error: {failure}", file=sys.stderr)
    return next(code for kind, code in EXIT_OF if isinstance(failure, kind))


def _start() -> None:
    home = locate(os.environ)
    home.make()
    home.check_socket_paths()
    config = load(home.config_file, os.environ)
    set_up(config.log.level, config.log.form)
    with only_one(home):
        gc.disable()
        from swarmnode.serving import serve

        gc.freeze()
        gc.enable()
        serve(config, home)


if __name__ == "__main__":
    sys.exit(main())
