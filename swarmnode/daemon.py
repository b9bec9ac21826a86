"""The node process: real edges, signals, exit codes. `swarmnode run` becomes this.

The first SIGTERM or SIGINT drains: no new work, then everything is stopped in reverse order; tasks
stay under their shims for the next start. A second signal stops at once. SIGUSR1 prints the tree of
running tasks of the event loop.
"""

import contextlib
import fcntl
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

import trio

from p2p.errors import IdentityError, ListenError, UnwritableFileError
from storage.errors import StorageError
from swarmnode import exit_codes as exits
from swarmnode.api.app import build_app
from swarmnode.api.events import EventHub
from swarmnode.api.routes import all_routes
from swarmnode.api.server import ApiServer, SocketInUseError
from swarmnode.api.tokens import read_tokens, token_file
from swarmnode.config import Config
from swarmnode.config_load import load
from swarmnode.errors import ConfigError, SwarmError
from swarmnode.home import Home, locate, write_addresses
from swarmnode.logs import set_up
from swarmnode.malloc import give_back_big_buffers
from swarmnode.node import Node
from swarmnode.notices import tell_changes
from swarmnode.real_edges import Real, build_edges
from swarmnode.task_tree import dump_tree

STOP_S: Final = 5.0
"""What stopping may take before it is cut short; a supervisor kills after ten seconds or more."""

log = logging.getLogger("swarm")


@contextlib.contextmanager
def only_one(home: Home) -> Iterator[None]:
    """Hold the home's lock. Raises SocketInUseError when another node has it."""
    fd = os.open(home.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            pid = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
            raise SocketInUseError(
                f"a node already runs in {home.state} (pid {pid}): stop it, or set another "
                "SWARM_HOME"
            ) from exc
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


async def serve(config: Config, home: Home, real: Real) -> None:
    """Run the node until a signal says stop."""
    node = Node(config, real.edges, real.identity, real.seeds)
    tokens = read_tokens(token_file(config.api.token_file, home.state)) if config.api.tcp else {}
    hub = EventHub(node.market.events, os.urandom(8).hex())
    api = ApiServer(
        build_app(all_routes(node, hub), node.has_started),
        home.api_socket,
        config.api.tcp or None,
        tokens,
        config.api.hosts,
        (hub.run,),
    )
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGUSR1) as signals:
        async with trio.open_nursery() as nursery:
            # The API comes first: `status` can tell what a slow start waits for.
            await nursery.start(api.run)
            node_scope = trio.CancelScope()
            nursery.start_soon(_run_node, node, home, real, node_scope, nursery)
            await _until_stopped(signals, node)
            with trio.move_on_after(STOP_S):
                async with trio.open_nursery() as ending:
                    ending.start_soon(_cut_short, signals, ending.cancel_scope)
                    await node.drain()
                    api.stopping.set()
                    node_scope.cancel()
                    await node.stopped.wait()
                    ending.cancel_scope.cancel()
            nursery.cancel_scope.cancel()
    log.info("stopped")


async def _run_node(
    node: Node, home: Home, real: Real, scope: trio.CancelScope, nursery: trio.Nursery
) -> None:
    try:
        with scope:
            async with trio.open_nursery() as running:
                await running.start(node.run)
                write_addresses(home, real.edges.host.addresses())
                where = ", ".join(real.edges.host.addresses())
                log.info("running as %s at %s", real.edges.host.peer_id, where)
                _tell_supervisor()
                running.start_soon(tell_changes, node.status)
    finally:
        node.stopped.set()


async def _until_stopped(signals: AsyncIterator[int], node: Node) -> None:
    async for number in signals:
        if number == signal.SIGUSR1:
            sys.stderr.write(dump_tree())
            continue
        log.info("%s: stopping; tasks stay under their shims", signal.Signals(number).name)
        return


async def _cut_short(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for number in signals:
        if number != signal.SIGUSR1:
            log.info("%s again: stopping at once", signal.Signals(number).name)
            scope.cancel()
            return


def _tell_supervisor() -> None:
    """Readiness for systemd's Type=notify (sd_notify(3))."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if not place:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
        notify.connect("\0" + place[1:] if place.startswith("@") else place)
        notify.send(b"READY=1")


EXIT_OF: Final[Sequence[tuple[type[Exception], int]]] = (
    (ConfigError, exits.USAGE),
    (UnwritableFileError, exits.ERROR),
    (IdentityError, exits.AUTH),
    (SocketInUseError, exits.ERROR),
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
    print(f"swarmnode: {failure}", file=sys.stderr)
    return next(code for kind, code in EXIT_OF if isinstance(failure, kind))


def _start() -> None:
    give_back_big_buffers()
    home = locate(os.environ)
    home.make()
    home.check_socket_paths()
    config = load(home.config_file, os.environ)
    set_up(config.log.level, config.log.form)
    with only_one(home):
        trio.run(serve, config, home, build_edges(config, home))


if __name__ == "__main__":
    sys.exit(main())
