"""Serves one node until a signal says stop: API first, then the parts, then down in reverse order.

The first SIGTERM or SIGINT drains: no new work, then everything is stopped; tasks stay under their
shims for the next start, and nobody is told goodbye, so that a restart moves nothing. A second
signal stops at once. SIGUSR1 prints the tree of running tasks of the event loop.
"""

import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import trio

from p2p.errors import UnwritableFileError
from swarmnode.api.access.tokens import TokenBook, read_tokens, token_file
from swarmnode.api.access.users import who_is
from swarmnode.api.app import build_app
from swarmnode.api.events import EventHub
from swarmnode.api.routes.paths import all_routes
from swarmnode.api.server.service import ApiServer
from swarmnode.boot import supervisor
from swarmnode.boot.allocator import give_back_big_buffers
from swarmnode.boot.descriptors import DescriptorShares, raise_limit, shares_of
from swarmnode.boot.real_edges import Real, build_edges
from swarmnode.boot.task_tree import dump_tree
from swarmnode.home.config import Config
from swarmnode.home.folders import Home, write_addresses
from swarmnode.node import Node
from swarmnode.overview.notices import OutNotices, tell_changes

ADDRESSES_EVERY_S: Final = 2.0
"""How often it is looked whether this machine has moved."""

STOP_S: Final = 5.0
"""What stopping may take before it is cut short; a supervisor kills after ten seconds or more."""

log = logging.getLogger("swarm")


def serve(config: Config, home: Home) -> None:
    """Run a node. Raises what `build_edges`, the API's address or a broken store raise."""
    give_back_big_buffers()
    shares = shares_of(raise_limit())
    trio.run(_serve, config, home, build_edges(config, home, shares), shares)


async def _serve(config: Config, home: Home, real: Real, shares: DescriptorShares) -> None:
    node = Node(config, real.edges, real.identity, real.seeds)
    notices = OutNotices(real.edges.book)
    node.peers.register.on_out(notices.tell)
    node.peers.register.on_lapsed(notices.tell_lapsed)
    api = _api_of(node, config, home, shares)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGUSR1) as signals:
        async with trio.open_nursery() as nursery:
            # The API comes first: `status` can tell what a slow start waits for.
            await nursery.start(api.run)
            node_scope = trio.CancelScope()
            nursery.start_soon(_run_node, node, home, node_scope)
            await _until_stopped(signals)
            supervisor.tell(supervisor.STOPPING)
            with trio.move_on_after(STOP_S):
                await _stop(node, node_scope, api, signals)
            nursery.cancel_scope.cancel()
    log.info("stopped")


def _api_of(node: Node, config: Config, home: Home, shares: DescriptorShares) -> ApiServer:
    tokens = token_file(config.api.token_file, home.state)
    if config.api.tcp:
        read_tokens(tokens)  # a file that cannot be used is told now
    book, face = TokenBook(tokens), node.face
    hub = EventHub(node.market.buyer.events, os.urandom(8).hex(), face.person_of)
    node.storage.objects.own.on_change(hub.tell_object)
    return ApiServer(
        build_app(all_routes(face, hub, book), face.has_started),
        home.api_socket,
        config.api.tcp or None,
        book,
        config.api.hosts,
        (hub.run,),
        shared=Path(config.api.shared) if config.api.shared else None,
        who=who_is(face.household.people, face.has_started),
        seats_max=shares.api,
    )


async def _stop(
    node: Node, scope: trio.CancelScope, api: ApiServer, signals: AsyncIterator[int]
) -> None:
    """Down in reverse order, unless one more signal cuts it short."""
    async with trio.open_nursery() as ending:
        ending.start_soon(_cut_short, signals, ending.cancel_scope)
        await node.drain()
        api.stopping.set()
        scope.cancel()
        await node.progress.stopped.wait()
        ending.cancel_scope.cancel()


async def _run_node(node: Node, home: Home, scope: trio.CancelScope) -> None:
    try:
        with scope:
            async with trio.open_nursery() as running:
                await running.start(node.run)
                addresses = node.edges.host.addresses()
                _note_addresses(home, addresses)
                log.info("running as %s at %s", node.edges.host.peer_id, ", ".join(addresses))
                supervisor.tell(supervisor.READY)
                running.start_soon(supervisor.feed)
                running.start_soon(_follow_addresses, node, home, addresses)
                running.start_soon(tell_changes, node.face.reader.health)
    finally:
        node.progress.stopped.set()


async def _follow_addresses(node: Node, home: Home, noted: Sequence[str]) -> None:
    """Note them again whenever this machine has moved."""
    while True:
        await trio.sleep(ADDRESSES_EVERY_S)
        addresses = node.edges.host.addresses()
        if addresses != noted:
            noted = addresses
            _note_addresses(home, addresses)
            log.info("reachable at %s", ", ".join(addresses) or "no address: this machine has none")


def _note_addresses(home: Home, addresses: Sequence[str]) -> None:
    """For `swarmnode invite`. On a full disk the node still serves what it has."""
    try:
        write_addresses(home, addresses)
    except UnwritableFileError as exc:
        log.warning("%s", exc)


async def _until_stopped(signals: AsyncIterator[int]) -> None:
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
