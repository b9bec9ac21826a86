"""Asks the machines of one's own lab for files of the internet, and gives them those kept here.

What comes from there is checked by who asked for it, before anybody sees it. Only machines of our
lab are told what is kept: it says what our tasks work with.
"""

import os
from collections.abc import Collection
from functools import partial

import trio

from p2p.errors import CallTimeoutError, PeerUnreachableError, RefusalError, RemoteRefusalError
from p2p.identity.caller import Caller
from p2p.ids import LabId, PeerId, TrafficClass
from p2p.membership.view import Liveness, Member
from p2p.mesh import Mesh
from p2p.workers import Workers
from swarmnode.mirror.errors import UpstreamError
from swarmnode.mirror.limits import ASK_LAB_S, ASKED_MAX, LAB_PIECE_BYTES, LAB_STALL_S, SHUNNED_S
from swarmnode.mirror.messages import MirroredPiece, ReadMirrored
from swarmnode.mirror.rules.digest import parse
from swarmnode.mirror.shelf import MirrorShelf

_UNKNOWN = "no file of that digest is kept here"


class LabFiles:
    """Both ends."""

    def __init__(self, mesh: Mesh, lab: LabId, shelf: MirrorShelf, workers: Workers) -> None:
        self._mesh, self._lab, self._shelf, self._workers = mesh, lab, shelf, workers
        self._shunned: dict[PeerId, float] = {}
        """Machines whose bytes were wrong, or that were silent: until when nobody asks them."""
        mesh.rpc.serve(ReadMirrored, self._on_read, reply_bytes=lambda _ask, _len: LAB_PIECE_BYTES)

    async def _on_read(
        self, caller: Caller, ask: ReadMirrored, _body: bytes
    ) -> tuple[MirroredPiece, bytes]:
        await trio.lowlevel.checkpoint()
        if not self._lab or caller.lab != self._lab:
            raise RefusalError("lab", "files of the mirror are given to machines of our own lab")
        size = self._shelf.size(ask.name) if parse(ask.name) else None
        if size is None:
            raise RefusalError("unknown", _UNKNOWN)
        if not 0 <= ask.start <= size or not 0 <= ask.count <= LAB_PIECE_BYTES:
            raise RefusalError("range", f"the file has {size} bytes")
        if not ask.count:
            return MirroredPiece(size), b""
        try:
            return MirroredPiece(size), await self._workers.run(partial(self._read, ask))
        except OSError as error:
            raise RefusalError("unknown", _UNKNOWN) from error

    def _read(self, ask: ReadMirrored) -> bytes:
        fd = self._shelf.open(ask.name)
        try:
            return os.pread(fd, ask.count, ask.start)
        finally:
            os.close(fd)

    async def holder(self, name: str, besides: Collection[PeerId]) -> tuple[PeerId, int] | None:
        """A machine that says it has that file, and how long it says that is: the first of all
        `besides` those that were asked before."""
        found: list[tuple[PeerId, int]] = []
        members = self._mesh.members.view().members
        ours = [one.peer for one in members if one.lab == self._lab and self._is_asked(one)]
        ours = [peer for peer in ours if peer not in besides]
        async with trio.open_nursery() as nursery:
            for peer in ours[:ASKED_MAX]:
                nursery.start_soon(self._ask, peer, name, found, nursery.cancel_scope)
        return found[0] if found else None

    def _is_asked(self, member: Member) -> bool:
        now_s = trio.current_time()
        is_shunned = self._shunned.get(member.peer, now_s) > now_s
        is_there = member.liveness is Liveness.ALIVE and member.peer != self._mesh.me
        return bool(self._lab) and is_there and not is_shunned

    async def _ask(
        self,
        peer: PeerId,
        name: str,
        found: list[tuple[PeerId, int]],
        others: trio.CancelScope,
    ) -> None:
        try:
            told, _ = await self._mesh.rpc.call(
                peer,
                ReadMirrored(name, 0, 0),
                MirroredPiece,
                traffic_class=TrafficClass.INTERACTIVE,
                timeout_s=ASK_LAB_S,
            )
        except (PeerUnreachableError, CallTimeoutError):
            self.shun(peer, SHUNNED_S / 10)
        except RemoteRefusalError:
            return  # it has none, or is an older one that has no mirror
        else:
            if told.size >= 0:
                found.append((peer, told.size))
                others.cancel()

    async def piece(self, peer: PeerId, name: str, start: int, count: int) -> bytes:
        """Some bytes of it, as that machine says. Raises UpstreamError."""
        try:
            _, body = await self._mesh.rpc.call(
                peer,
                ReadMirrored(name, start, count),
                MirroredPiece,
                traffic_class=TrafficClass.NORMAL,
                timeout_s=LAB_STALL_S,
            )
        except (PeerUnreachableError, CallTimeoutError, RemoteRefusalError) as error:
            raise UpstreamError(f"a machine of this lab: {error}") from error
        if len(body) != count:
            raise UpstreamError("a machine of this lab gave other bytes than were asked for")
        return body

    def shun(self, peer: PeerId, for_s: float = SHUNNED_S) -> None:
        """Nobody asks it for so long."""
        now_s = trio.current_time()
        self._shunned = {one: until for one, until in self._shunned.items() if until > now_s}
        self._shunned[peer] = now_s + for_s
