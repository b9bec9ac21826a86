"""One job's network, for as long as the job lives and a node is there: see the package.

<job>/names     names that have an address, one a line, in order
<job>/traffic   bytes out and in, now and then
"""

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import trio

from p2p.accepting import Serve, accept_forever, is_reserved
from swarmnode import reach
from swarmnode.errors import HostUnreachedError, NetRefusedError
from swarmnode.executor.job_folder import JobFolder
from swarmnode.executor.network import core
from swarmnode.executor.network.conduit import Conduit, MeteredStream, Pace, close
from swarmnode.executor.network.dial import dial, is_own
from swarmnode.executor.network.limits import (
    CONNECTIONS_PER_S,
    LOOKUPS_MAX,
    QUESTIONS_PER_S,
    RESOLVE_S,
)
from swarmnode.executor.network.names import NameTable
from swarmnode.executor.network.resolver import Resolver
from swarmnode.executor.network.room import ConnectionPart
from swarmnode.executor.network.sockets import sockets_of, wanted
from swarmnode.executor.port import JobSpec, MirrorServer, WayOut
from swarmnode.executor.shim import pairs

_QUESTION_BYTES_MAX: Final = 4096
_DNS_CONNECTION_S: Final = 10.0
_BURST_S: Final = 4.0
"""A program that begins may make as many connections at once as it does in so long."""
_SAVE_S: Final = 5.0
_NOTE_CHARS_MAX: Final = 1000
"""It goes through a pipe in one piece."""


async def no_mirror(_preset: str, _stream: trio.abc.Stream, _way: WayOut) -> None:
    """The answer where nobody answers."""
    await trio.lowlevel.checkpoint()
    raise NetRefusedError("refused: this machine has no mirror")


class JobNetwork:
    """Of one job. What it carried is counted on from where a node before us stopped."""

    def __init__(
        self,
        folder: JobFolder,
        spec: JobSpec,
        private: Sequence[str],
        resolver: Resolver,
        part: ConnectionPart,
        mirror: MirrorServer,
    ) -> None:
        self._folder, self._resolver, self._mirror = folder, resolver, mirror
        self._names_file = folder.path / "names"
        self._net = core.TaskNet(spec.net, private, NameTable(_lines(self._names_file)))
        self._conduit = Conduit(Pace(spec.net_up_bytes_per_s), Pace(spec.net_down_bytes_per_s))
        self._saved = traffic_of(folder)
        """As the file has it."""
        self._conduit.up.count, self._conduit.down.count = self._saved
        self._part = part
        """Of what all tasks may hold; beyond it they are told so."""
        self._lookups = trio.CapacityLimiter(LOOKUPS_MAX)
        self._newcomers = Pace(CONNECTIONS_PER_S, _BURST_S)
        self._questions = Pace(QUESTIONS_PER_S, _BURST_S)

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes out and in."""
        return self._conduit.up.count, self._conduit.down.count

    async def run(self) -> None:
        """Serve until cancelled: the shim keeps the sockets, so another node goes on with them."""
        sockets = await sockets_of(self._folder)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._answer_questions, sockets.questions)
                nursery.start_soon(self._accept, sockets.dns_listener, self._answer_on)
                nursery.start_soon(self._accept, sockets.listener, self._serve)
                while True:
                    await trio.sleep(_SAVE_S)
                    self._save()
        finally:
            self._save()
            for sock in sockets:
                sock.close()

    async def _accept(self, sock: trio.socket.SocketType, serve: Serve) -> None:
        what = f"connections of {self._folder.path.name}"
        await accept_forever(trio.SocketListener(sock), serve, what=what)

    def _save(self) -> None:
        """A full disk does not matter: less is counted, should this node end now."""
        if self.traffic != self._saved:
            self._saved = self.traffic
            with contextlib.suppress(OSError):
                names = tuple(zip(("up", "down"), map(str, self._saved), strict=True))
                pairs.write_pairs(str(self._folder.path / "traffic"), names, durable=False)

    def _tell(self, words: str) -> None:
        """In the task's stderr, once."""
        if words and self._net.is_to_tell(words):
            self._folder.order_note(f"swarm: {words}"[:_NOTE_CHARS_MAX])
            if last := self._net.last_words():
                self._folder.order_note(f"swarm: {last}")

    # -- names

    async def _answer_questions(self, sock: trio.socket.SocketType) -> None:
        while True:
            query, asker = await sock.recvfrom(_QUESTION_BYTES_MAX)
            if reply := self._answer(query):
                with contextlib.suppress(OSError):  # who is gone needs no answer
                    await sock.sendto(reply, asker)
            await self._questions.spent(1)

    async def _answer_on(self, stream: trio.SocketStream) -> None:
        """The same by TCP, two bytes of length before each message."""
        with (
            trio.move_on_after(_DNS_CONNECTION_S),
            contextlib.suppress(trio.BrokenResourceError),
            self._part.one() as has_room,
        ):
            while has_room and (query := await _message(stream)):
                reply = self._answer(query)
                await stream.send_all(len(reply).to_bytes(2) + reply)
                await self._questions.spent(1)

    def _answer(self, query: bytes) -> bytes:
        """A name has its address for good before anybody hears it."""
        reply, new_name = self._net.answer(query)
        if new_name:
            _append(self._names_file, new_name)
        if reply and self._net.is_full:
            self._tell(core.TOO_MANY_NAMES)
        return reply

    # -- connections

    async def _serve(self, stream: trio.SocketStream) -> None:
        there = wanted(stream.socket)
        try:
            with self._place():
                await self._serve_target(stream, await self._target(there))
        except (NetRefusedError, HostUnreachedError) as exc:
            self._tell(str(exc))
        finally:
            if stream.socket.fileno() >= 0:
                close(socket.socket(fileno=stream.socket.detach()), is_reset=True)

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        """For one connection more. Raises NetRefusedError."""
        with self._part.one() as has_room:
            if not has_room:
                raise NetRefusedError(core.too_many(self._part.held))
            yield

    async def _serve_target(self, stream: trio.SocketStream, target: core.Target) -> None:
        if preset := self._net.mirror(target):
            metered = MeteredStream(stream, self._conduit.up, self._conduit.down)
            with self._place():  # of a file that it fetches two more are open
                await self._mirror(preset, metered, self)
            return
        far = await self.connect(*target)
        await self._conduit.carry(socket.socket(fileno=stream.socket.detach()), far)

    async def _target(self, there: tuple[str, int] | None) -> core.Target:
        """Raises NetRefusedError."""
        await self._newcomers.spent(1)
        if there is None:
            raise NetRefusedError("")
        if (target := self._net.target(*there)) is None:
            raise NetRefusedError(f"refused: {there[0]}:{there[1]} stands for no name")
        return target

    async def connect(self, host: str, port: int) -> socket.socket:
        """To a host that the task may reach; its log tells why not.

        Raises NetRefusedError, HostUnreachedError.
        """
        try:
            return await self._connected(core.Target(host, port))
        except (NetRefusedError, HostUnreachedError) as exc:
            self._tell(str(exc))
            raise

    async def _connected(self, target: core.Target) -> socket.socket:
        if why := self._net.refusal(target):
            raise NetRefusedError(why)
        places, why = self._net.allowed(target, await self._places(target), is_own)
        if why:
            raise NetRefusedError(why)
        return await _dialled(target, places)

    async def _places(self, target: core.Target) -> Sequence[core.SocketPlace]:
        """Of the host, now. Raises HostUnreachedError."""
        if reach.is_literal(target.host):
            return [core.SocketPlace(*target)]
        with trio.move_on_after(RESOLVE_S):
            try:
                async with self._lookups:
                    return await self._resolver.places(target.host, target.port)
            except OSError as exc:
                words = f"cannot look up {target.host}: {exc.strerror}"
                raise HostUnreachedError(words) from exc
        raise HostUnreachedError(f"cannot look up {target.host}: no answer")


async def _dialled(target: core.Target, places: Sequence[core.SocketPlace]) -> socket.socket:
    """Raises HostUnreachedError."""
    try:
        sock = await dial(places)
    except OSError as exc:
        why = os.strerror(exc.errno or 0)  # trio says more, of places inside
        raise HostUnreachedError(f"cannot reach {target}: {why}") from exc
    if is_reserved(sock.fileno()):
        sock.close()
        raise HostUnreachedError(
            f"cannot reach {target}: this machine's node has too many files open"
        )
    return sock


def traffic_of(folder: JobFolder) -> tuple[int, int]:
    """Bytes out and in that were noted of a job."""
    try:
        noted = dict(pairs.read_pairs(str(folder.path / "traffic")))
        return int(noted["up"]), int(noted["down"])
    except (FileNotFoundError, ValueError, KeyError):  # none, or a power cut
        return 0, 0


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _append(path: Path, name: str) -> None:
    """A full disk does not matter, until a node after us gives the address to another name."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, name.encode() + b"\n")
        finally:
            os.close(fd)


async def _message(stream: trio.SocketStream) -> bytes:
    """One of DNS over TCP; nothing at the end, or of what is none."""
    head = await _exactly(stream, 2)
    body = await _exactly(stream, int.from_bytes(head)) if len(head) == 2 else b""
    return body if head and len(body) == int.from_bytes(head) else b""


async def _exactly(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count and (piece := await stream.receive_some(count - len(data))):
        data += piece
    return data
