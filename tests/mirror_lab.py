"""Mirrors over machines in memory, and an internet of one TLS server that bears any name."""

import gzip
import hashlib
import os
import random
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import h11
import msgspec
import trio
import trio.testing

from p2p.host.memory.host import MemoryHost, memory_address
from p2p.host.memory.network import LinkModel, MemoryNetwork
from p2p.host.rpc.service import Rpc
from p2p.ids import LabId, NetworkId, PeerId
from p2p.membership.view import Liveness, Member, MemberChanged, View
from p2p.mesh import Mesh
from p2p.workers import ThreadWorkers
from swarmnode import reach
from swarmnode.errors import HostUnreachedError, NetRefusedError
from swarmnode.executor.fake.executor import FakeExecutor
from swarmnode.executor.port import Executor
from swarmnode.mirror.service import MirrorDisk, MirrorService
from testnet.sim.callers import machine_of
from testnet.sim.clock import VirtualWall
from testnet.sim.signer import KeyedHashSigner
from tests.market_lab import Board
from tests.net_lab import Authority
from tests.wheel_lab import make_wheel

NAMES = [
    "pypi.org", "files.pythonhosted.org", "huggingface.co", "cdn-lfs.hf.co", "us.aws.cdn.hf.co",
]  # fmt: skip
HERE = "127.0.0.1"
COMMIT = "0123456789" * 4
LAB = {"a": "lab", "b": "lab", "c": "other"}
BIG = bytes(range(256)) * 4096 + b"the end"
MODEL = "/o/n/resolve/main/model.safetensors"
PINNED = MODEL.replace("main", COMMIT)
JSON = {"accept": "application/vnd.pypi.simple.v1+json"}
Act = Callable[[trio.abc.Stream], Awaitable[None]]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Reply:
    """What the internet says at some address."""

    body: bytes = b""
    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    cut: int | None = None
    """Break off after so many bytes."""
    holds: trio.Event | None = None
    """The second half waits for it."""
    act: Act | None = None
    """Instead of all that."""


@dataclass
class Internet:
    """Replies by host and path, without a query; what was asked for stands in `asked`."""

    replies: dict[tuple[str, str], Reply] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """`METHOD HOST TARGET`, in order."""
    heads: list[list[tuple[str, str]]] = field(default_factory=list)
    heard: trio.Event = field(default_factory=trio.Event)
    """Set, and replaced, at each request."""
    is_down: bool = False
    stays: bool = True
    """Whether a connection may be asked more than once."""
    connections: int = 0
    port: int = 0

    def count(self, words: str) -> int:
        """How often something with these words was asked for."""
        return sum(words in line for line in self.asked)

    async def asked_for(self, words: str) -> None:
        """Return once something with these words was asked for."""
        while not self.count(words):
            await self.heard.wait()

    def put(self, url: str, reply: Reply) -> None:
        host, _, path = url.partition("/")
        self.replies[host, f"/{path}"] = reply

    def wheel(self, wheel: Path, *, is_packed: bool = True) -> bytes:
        """A project with that file; its bytes."""
        data, name = wheel.read_bytes(), wheel.name.split("-")[0]
        place = f"files.pythonhosted.org/packages/{wheel.name}"
        metadata = b"Metadata-Version: 2.1\nName: %s\nVersion: 1.0\n" % name.encode()
        file = {
            "filename": wheel.name,
            "url": f"https://{place}",
            "hashes": {"sha256": sha256(data)},
            "core-metadata": {"sha256": sha256(metadata)},
        }
        self.page(name, [file], is_packed=is_packed)
        self.put(place, Reply(data))
        self.put(f"{place}.metadata", Reply(metadata))
        return data

    def page(self, name: str, files: Iterable[object], *, is_packed: bool = True) -> None:
        body = msgspec.json.encode(
            {"meta": {"api-version": "1.1"}, "name": name, "files": list(files)}
        )
        headers = [("content-type", "application/vnd.pypi.simple.v1+json"), ("etag", '"1"')]
        if is_packed:
            body, headers = gzip.compress(body), [*headers, ("content-encoding", "gzip")]
        self.put(f"pypi.org/simple/{name}/", Reply(body, headers=headers))

    def large(self, path: str, data: bytes, *, size: int | None = None) -> None:
        """A large file of the hub, which says that `size`: it leads to its store."""
        headers = [
            ("x-repo-commit", COMMIT), ("x-linked-etag", f'"{sha256(data)}"'),
            ("x-linked-size", str(len(data) if size is None else size)), ("x-xet-hash", "a" * 64),
            ("location", f"https://cdn-lfs.hf.co/{sha256(data)}?sig=1"),
        ]  # fmt: skip
        for one in (path, path.replace("/main/", f"/{COMMIT}/")):
            self.put(f"huggingface.co{one}", Reply(b"found", 302, headers))
        self.put(f"cdn-lfs.hf.co/{sha256(data)}", Reply(data))

    def small(self, path: str, data: bytes) -> None:
        """A small one: it leads to a copy of the hub's own."""
        named = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
        for one in (path, path.replace("/main/", f"/{COMMIT}/")):
            there = f"/api/resolve-cache{one}"
            headers = [("location", there), ("x-repo-commit", COMMIT)]
            self.put(f"huggingface.co{one}", Reply(b"", 307, headers))
            headers = [("etag", f'"{named}"'), ("x-repo-commit", COMMIT)]
            self.put(f"huggingface.co{there}", Reply(data, headers=headers))

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        http = h11.Connection(h11.SERVER)
        try:
            while await self._answer(stream, http) and self.stays:
                http.start_next_cycle()
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            return

    async def _answer(self, stream: trio.abc.Stream, http: h11.Connection) -> bool:
        """Whether more may be asked."""
        while not isinstance(event := http.next_event(), h11.Request):
            if event is not h11.NEED_DATA:
                return False
            http.receive_data(bytes(await stream.receive_some(65536)))
        headers = [(name.decode(), value.decode("latin-1")) for name, value in event.headers]
        host, target = dict(headers)["host"], event.target.decode()
        self.asked.append(f"{event.method.decode()} {host} {target}")
        self.heads.append(headers)
        self.heard.set()
        self.heard = trio.Event()
        reply = self.replies.get((host, target.partition("?")[0]), Reply(b"none", 404))
        if ("if-none-match", '"1"') in headers and reply.status == 200:
            reply = Reply(status=304)
        part = dict(headers).get("range", "")
        if reply.status == 200 and part.startswith("bytes=") and reply.act is None:
            reply = _part_of(reply, part.removeprefix("bytes="))
        await self._say(stream, http, reply, is_head=event.method == b"HEAD")
        return reply.act is None and reply.cut is None

    async def _say(
        self, stream: trio.abc.Stream, http: h11.Connection, reply: Reply, *, is_head: bool
    ) -> None:
        if reply.act is not None:
            await reply.act(stream)
            return
        length = [] if reply.status == 304 else [("content-length", str(len(reply.body)))]
        if any(name == "content-length" for name, _ in reply.headers):
            length = []
        headers = [(name.encode(), value.encode()) for name, value in (*reply.headers, *length)]
        head = h11.Response(status_code=reply.status, headers=headers)
        await stream.send_all(http.send(head) or b"")
        if not is_head:
            half = len(reply.body) // 2
            await stream.send_all(reply.body[: half if reply.holds is not None else reply.cut])
            if reply.holds is not None:
                await reply.holds.wait()
                await stream.send_all(reply.body[half:])
            http.send(h11.Data(data=reply.body))
        if reply.cut is None:
            http.send(h11.EndOfMessage())
        while isinstance(http.next_event(), h11.EndOfMessage):
            pass


def _part_of(reply: Reply, words: str) -> Reply:
    first, _, last = words.partition("-")
    start, end = int(first), int(last) + 1 if last else len(reply.body)
    told = ("content-range", f"bytes {start}-{end - 1}/{len(reply.body)}")
    return Reply(reply.body[start:end], 206, [*reply.headers, told])


def wheel_in(folder: Path) -> Path:
    """A small one of a project `pkg`."""
    return make_wheel(folder, "pkg", "1.0", {"pkg.py": "x = 1\n" * 5000})


def link_in(told: "Told") -> str:
    """Where an index page leads first, at its mirror."""
    file = msgspec.json.decode(told.body)["files"][0]
    return str(file["url"]).removeprefix("http://pypi.mirror.swarm")


@asynccontextmanager
async def internet_at(authority: Authority) -> AsyncIterator[Internet]:
    """It listens on this machine."""
    internet = Internet()
    async with trio.open_nursery() as nursery:
        serve = partial(
            trio.serve_ssl_over_tcp, internet.serve, 0, authority.context, host=HERE,
            https_compatible=True,
        )  # fmt: skip
        (listener,) = await nursery.start(serve)
        internet.port = listener.transport_listener.socket.getsockname()[1]
        yield internet
        nursery.cancel_scope.cancel()


class LabWay:
    """A task's way out, by the words that it may reach; the internet is one port here."""

    def __init__(self, internet: Internet, *words: str) -> None:
        self._internet, self._words = internet, words

    async def connect(self, host: str, port: int) -> socket.socket:
        if not reach.allows(self._words, host, port):
            raise NetRefusedError(f"refused: {host}:{port}")
        if self._internet.is_down:
            raise HostUnreachedError(f"cannot reach {host}:{port}: no route to host")
        sock = trio.socket.socket()
        await sock.connect((HERE, self._internet.port))
        return socket.socket(fileno=sock.detach())


class Told(msgspec.Struct):
    """An answer of a mirror."""

    status: int
    headers: dict[str, str]
    body: bytes


async def exchange(
    service: MirrorService,
    preset: str,
    way: LabWay,
    target: str,
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
    body: bytes = b"",
) -> Told:
    """One request of a program. Raises h11.RemoteProtocolError where the answer breaks off."""
    async with one_who_asks(service, preset, way) as near:
        http = h11.Connection(h11.CLIENT)
        more = [("content-length", str(len(body)))] if body else []
        head = [("host", reach.MIRRORS[preset]), *(headers or {}).items(), *more]
        coded = [(name.encode(), value.encode()) for name, value in head]
        request = h11.Request(method=method, target=target, headers=coded)
        await near.send_all(http.send(request) + http.send(h11.Data(data=body)))
        told = await _read(near, http)
    if isinstance(told, h11.RemoteProtocolError):
        raise told
    return told


@asynccontextmanager
async def one_who_asks(
    service: MirrorService, preset: str, way: LabWay, words: bytes = b"", *, lockstep: bool = False
) -> AsyncIterator[trio.abc.Stream]:
    """A connection on which these words were said; it reads nothing by itself.

    In lockstep nothing is sent that it does not read.
    """
    pair = trio.testing.lockstep_stream_pair if lockstep else trio.testing.memory_stream_pair
    near, far = pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_serve, service, preset, far, way)
        if words:
            await near.send_all(words)
        yield near
        nursery.cancel_scope.cancel()


async def _serve(service: MirrorService, preset: str, stream: trio.abc.Stream, way: LabWay) -> None:
    try:
        await service.serve(preset, stream, way)
    finally:
        await trio.aclose_forcefully(stream)


async def _read(stream: trio.abc.Stream, http: h11.Connection) -> "Told | h11.RemoteProtocolError":
    http.send(h11.EndOfMessage())
    told = Told(0, {}, b"")
    while True:
        try:
            event = http.next_event()
        except h11.RemoteProtocolError as error:
            return error
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some(65536)))
        elif isinstance(event, h11.Response):
            told.status = event.status_code
            told.headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
        elif isinstance(event, h11.Data):
            told.body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return told


class _Labs:
    """Membership that knows everybody from the start."""

    def __init__(self, me: PeerId, labs: Mapping[str, str]) -> None:
        self._me, self._labs = me, labs

    def view(self) -> View:
        return View(self._me, tuple(self._member(name, lab) for name, lab in self._labs.items()))

    def _member(self, name: str, lab: str) -> Member:
        return Member(PeerId(name), Liveness.ALIVE, 1, (), name, LabId(lab), "", 0.0)

    def on_change(self, listener: Callable[[MemberChanged], None]) -> None:
        """Nothing does."""


class MirrorMachine:
    """A machine with a mirror."""

    def __init__(
        self,
        host: MemoryHost,
        folder: Path,
        labs: Mapping[str, str],
        disk: MirrorDisk,
        executor: Executor,
    ) -> None:
        self.folder, self.wall, me = folder, VirtualWall(), PeerId(folder.name)
        self.rpc, dice = Rpc(host), random.Random(0)
        signer, members = KeyedHashSigner(me), _Labs(me, labs)
        mesh = Mesh(
            self.rpc, members, Board(), signer, NetworkId("net"), dice, os.urandom, self.wall
        )
        self.service = MirrorService(
            executor, mesh, LabId(labs[folder.name]), ThreadWorkers(), self.wall, disk
        )


@asynccontextmanager
async def mirror_machines(
    folder: Path,
    authority: Authority,
    labs: Mapping[str, str],
    *,
    bytes_max: int = 1 << 30,
    rooms: Mapping[str, int] | None = None,
    executors: Mapping[str, Executor] | None = None,
) -> AsyncIterator[dict[str, MirrorMachine]]:
    """Machines by name, each of a lab; what they kept in `folder` before they have still."""
    network = MemoryNetwork(random.Random(0), LinkModel())
    tls = partial(ssl.create_default_context, cafile=str(authority.pem))
    hosts = {
        name: MemoryHost(network, PeerId(name), machine_of(PeerId(name), LabId(lab)))
        for name, lab in labs.items()
    }
    machines = {
        name: MirrorMachine(
            host,
            folder / name,
            labs,
            MirrorDisk(folder / name, (rooms or {}).get(name, bytes_max), tls),
            (executors or {}).get(name) or FakeExecutor(),
        )
        for name, host in hosts.items()
    }
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        for name, host in hosts.items():
            for other in hosts:
                host.learn(PeerId(other), [memory_address(PeerId(other))])
            await nursery.start(machines[name].rpc.run)
            await nursery.start(host.run)
            await nursery.start(machines[name].service.run)
        yield machines
        nursery.cancel_scope.cancel()
