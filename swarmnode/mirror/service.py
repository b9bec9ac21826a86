"""The mirrors of a node: made of its disk, its lab and the ways out of the tasks that ask."""

import logging
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio

from p2p.ids import LabId
from p2p.mesh import Mesh
from p2p.workers import Workers
from swarmnode.contained import contained
from swarmnode.errors import NetRefusedError
from swarmnode.mirror.bringing import FileBringer
from swarmnode.mirror.exchange import Exchange, MirrorRequest
from swarmnode.mirror.giving import Giver
from swarmnode.mirror.hf import HubMirror
from swarmnode.mirror.lab import LabFiles
from swarmnode.mirror.limits import MIRROR_CONNECTIONS_MAX, PAGES_AT_ONCE
from swarmnode.mirror.pages import Pages
from swarmnode.mirror.pypi import PypiMirror
from swarmnode.mirror.shelf import MirrorShelf
from swarmnode.mirror.talk import IdleTalks
from swarmnode.mirror.upstream import Upstream

if TYPE_CHECKING:
    from swarmnode.executor.port import Executor, WayOut

log = logging.getLogger("swarm")


class MirrorDisk(msgspec.Struct, frozen=True):
    """Where files are kept on this machine, and whom it believes."""

    folder: Path
    bytes_max: int
    tls: Callable[[], ssl.SSLContext]
    """Who vouches for hosts of the internet. Blocking."""


class _Asker(msgspec.Struct):
    """What one task has of the mirrors."""

    connections: int = 0
    idle: IdleTalks = msgspec.field(default_factory=IdleTalks)
    pages: trio.CapacityLimiter = msgspec.field(
        default_factory=lambda: trio.CapacityLimiter(PAGES_AT_ONCE)
    )


class MirrorService:
    """One per node that has a mirror: build it before the executor runs."""

    def __init__(
        self,
        executor: "Executor",
        mesh: Mesh,
        lab: LabId,
        workers: Workers,
        wall_ms: Callable[[], int],
        disk: MirrorDisk,
    ) -> None:
        self._workers, self._disk = workers, disk
        self._shelf = MirrorShelf(disk.folder, disk.bytes_max)
        self._lab = LabFiles(mesh, lab, self._shelf, workers)
        pages = Pages(self._shelf, workers, wall_ms)
        self._answers: dict[str, Callable[[MirrorRequest, Giver], Awaitable[None]]] = {
            "pypi": PypiMirror(pages, workers).answer,
            "hf": HubMirror(pages).answer,
        }
        self._bringing: FileBringer | None = None
        """None before `run`, and after it."""
        self._runs = trio.Event()
        self._tls: ssl.SSLContext | None = None
        self._askers: dict[int, _Asker] = {}
        """Tasks that have connections, by their ways out."""
        executor.on_mirror(self.serve)

    @property
    def kept_bytes(self) -> int:
        """On this machine's disk."""
        return self._shelf.kept_bytes

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Bring what is wanted until cancelled."""
        await self._workers.run(self._shelf.look)
        async with trio.open_nursery() as nursery:
            self._bringing = FileBringer(self._shelf, self._lab, self._workers, nursery)
            self._runs.set()
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._bringing = None

    async def serve(self, preset: str, stream: trio.abc.Stream, way: "WayOut") -> None:
        """See swarmnode.executor.port.MirrorServer. Raises NetRefusedError."""
        await self._runs.wait()
        asker = self._askers.setdefault(id(way), _Asker())
        if self._bringing is None or asker.connections >= MIRROR_CONNECTIONS_MAX:
            why = "this node stops" if self._bringing is None else "too many connections"
            raise NetRefusedError(f"refused: the mirror of {preset}: {why}")
        asker.connections += 1
        try:
            upstream = Upstream(way, await self._trusted(), asker.idle)
            exchange = Exchange(stream)
            giver = Giver(exchange, self._bringing, upstream, asker.pages)
            with contained(f"a connection to the mirror of {preset}"):
                await exchange.run(partial(self._answer, preset, giver))
        finally:
            asker.connections -= 1
            if not asker.connections:
                self._askers.pop(id(way), None)
                await asker.idle.aclose()

    async def _answer(self, preset: str, giver: Giver, request: MirrorRequest) -> None:
        await self._answers[preset](request, giver)

    async def _trusted(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = await self._workers.run(self._disk.tls)
        return self._tls
