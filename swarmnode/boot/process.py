"""What the node process does around serving: its lock, an operator's faults, exit codes.

What it serves is imported late: a fault in the configuration or a second node is told within a
tenth of a second, and nothing is collected while hundreds of modules are loaded.
"""

import gc
import os
import sys
from collections.abc import Sequence
from typing import Final

from p2p.errors import IdentityError, ListenError, UnwritableFileError
from storage.errors import StorageError
from swarmnode.boot import exit_codes as exits
from swarmnode.boot.logs import set_up
from swarmnode.errors import ConfigError, SwarmError
from swarmnode.home.config_load import load
from swarmnode.home.folders import locate
from swarmnode.home.lock import only_one

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
    try:
        _start()
    except* KNOWN as group:
        failure = group
    if failure is None:
        return exits.OK
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    print(f"error: {failure}", file=sys.stderr)
    return next(code for kind, code in EXIT_OF if isinstance(failure, kind))


def _start() -> None:
    os.umask(0o077)  # whatever we were started with: nobody else reads or writes what we make
    home = locate(os.environ)
    home.make()
    home.check_socket_paths()
    config = load(home.config_file, os.environ)
    set_up(config.log.level, config.log.form)
    with only_one(home, config.compute.tasks_folder):
        gc.disable()
        from swarmnode.boot.serving import serve

        gc.freeze()
        gc.enable()
        serve(config, home)
