"""A whole node that lies: one or two fields of what it says are as strange as their types let them.

It takes part in everything (tasks, objects, names, the keeping of tasks), so its messages name
what the others know and are signed as they should be. Of all that it could say it says what it has
said least often.
"""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import inspect
from msgspec.structs import replace

from p2p.host.memory.host import MemoryHost
from p2p.host.port import FrameSink
from p2p.identity.caller import Caller
from p2p.ids import PeerId, TrafficClass
from p2p.wire import codec
from p2p.wire.codec import Message, Record
from p2p.wire.envelope import Signed
from testnet.sim import world as sim_world
from testnet.sim.signer import KeyedHashSigner

WHO: ContextVar[str] = ContextVar("who", default="")
"""The peer whose node this task belongs to."""

_INTS: Final = (0, 1, -1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1, -(2**63))
_TEXTS: Final = (
    "",
    "\0",
    "\n",
    "x" * 129,
    "x" * 50_000,
    "é\u202e",
    "../../etc",
    "/",
    ".",
    "*" * 300,
)
_BYTES: Final = (b"", b"\0", b"\xff" * 8, bytes(31), bytes(33), b"\xff" * 50_000)
_TIMES: Final = (0, 2**63 - 1, 2**64 - 1)
_OWN: Final = ("Row", "JobRecord", "FenceRecord", "NameEntry", "KnownPeer", "StreamRecord")
"""Of what a node writes down for itself."""
_BODIES: Final = ("GuardRecord", "Manifest", "ManifestPage", "MoreRoots", "TreePage")
_SERVICES_BEGIN: Final = 20
_SEEN_MAX: Final = 200


@dataclass(frozen=True)
class Leaf:
    """Something in a message that can be changed."""

    path: tuple[str | int, ...]
    info: Any
    now: Any
    field: str

    @property
    def where(self) -> str:
        """Its place, whichever of several it is."""
        return ".".join(one for one in self.path if isinstance(one, str))


class Liar:
    """Stands in for the encoder of everything; lies for one peer only."""

    def __init__(self, peer: PeerId, signer_seed: int, peers: tuple[PeerId, ...]) -> None:
        self.dice = random.Random(f"liar/{signer_seed}")
        self.said: Counter[tuple[str, str, str]] = Counter()
        """How often, by kind, place and strangeness."""
        self.last: list[str] = []
        self.share = 0.0
        self._peer, self._signer_seed, self._peers = peer, signer_seed, peers
        self._honest = msgspec.msgpack.Encoder()
        self._seen: dict[str, list[Any]] = {}

    def encode(self, value: msgspec.Struct) -> bytes:
        """As the codec's encoder."""
        if WHO.get() != self._peer or not self._may_lie(value):
            return self._honest.encode(value)
        told = self._told(value)
        if self.dice.random() < 0.15:
            told = self._told(told)
        try:
            packed = self._honest.encode(told)
        except OverflowError:  # no message has such a number
            return self._honest.encode(value)
        is_sent = len(packed) <= self._bytes_max(value)
        return packed if is_sent else self._honest.encode(value)

    def _bytes_max(self, value: msgspec.Struct) -> int:
        if isinstance(value, Message):
            return 62_000
        return 350_000 if type(value).__name__ in _BODIES else 50_000

    def _may_lie(self, value: msgspec.Struct) -> bool:
        kind = type(value)
        if kind is Signed or kind.__name__.endswith(_OWN):
            return False
        if not isinstance(value, Message | Record):
            return False
        if isinstance(value, Message) and codec.number_of(type(value)) < _SERVICES_BEGIN:
            return False
        is_presence = kind.__module__.startswith("p2p.membership")
        return self.dice.random() < (0.05 if is_presence and self.share else self.share)

    def _told(self, value: Any) -> Any:  # noqa: ANN401
        name = type(value).__name__
        leaves = list(_leaves(value, inspect.type_info(type(value)), (), ""))
        self._remember(leaves)
        options = [
            (self.said[name, leaf.where, label], self.dice.random(), leaf, label)
            for leaf in leaves
            for label in _labels(leaf.info)
        ]
        if not options:
            return value
        *_, leaf, label = min(options, key=lambda one: one[:2])
        self.said[name, leaf.where, label] += 1
        strange = self._strange(leaf, label)
        self.last = [*self.last[-30:], f"{name}.{leaf.where} {label}: {str(strange)[:60]!r}"]
        return _with(value, leaf.path, strange)

    def _remember(self, leaves: list[Leaf]) -> None:
        for leaf in leaves:
            if not isinstance(leaf.now, tuple | msgspec.Struct):
                seen = self._seen.setdefault(leaf.field, [])
                if len(seen) < _SEEN_MAX and leaf.now not in seen:
                    seen.append(leaf.now)

    def _strange(self, leaf: Leaf, label: str) -> Any:  # noqa: ANN401
        kind, _, which = label.partition(":")
        dice, now = self.dice, leaf.now
        match kind:
            case "int" | "text" | "bytes":
                return {"int": _INTS, "text": _TEXTS, "bytes": _BYTES}[kind][int(which)]
            case "other":
                return dice.choice(self._seen.get(leaf.field) or [now])
            case "peer":
                return dice.choice(self._peers)
            case "near":
                return now + dice.choice((-1, 1, 2**31))
            case "many":
                one = len(self._honest.encode(list(now)))
                return now * max(1, dice.choice((3_000, 45_000)) // one)
            case "choice":
                return dice.choice(list(leaf.info.cls))
            case "seal":
                return self._sealed(now, int(which))
            case _:
                plain = {"empty": (), "none": None}
                return plain[kind] if kind in plain else _turned(kind, now)

    def _sealed(self, now: Signed, which: int) -> Signed:
        """Signed anew by whoever signed it, if that is us or a key of ours."""
        if which < 3:
            now = replace(now, sequence=_TIMES[which])
        elif which < 6:
            now = replace(now, expires_ms=_TIMES[which - 3])
        else:
            now = replace(now, payload=b"" if which == 6 else now.payload[:-1] + b"\xff")
        if now.sender != self._peer and not now.sender.startswith("key-"):
            return now
        bare = replace(now, signature=b"")
        data = bare.domain.encode() + b"\0" + self._honest.encode(bare)
        return replace(bare, signature=KeyedHashSigner(now.sender, self._signer_seed).sign(data))


def _turned(kind: str, now: Any) -> Any:  # noqa: ANN401
    if kind == "flip":
        return not now
    return {"cut": now[:-1], "double": now + now, "back": now[::-1]}[kind]


def _labels(info: Any) -> list[str]:  # noqa: ANN401
    match info:
        case inspect.IntType():
            return [*(f"int:{n}" for n in range(len(_INTS))), "near"]
        case inspect.StrType():
            return [*(f"text:{n}" for n in range(len(_TEXTS))), "other", "peer"]
        case inspect.BytesType():
            return [*(f"bytes:{n}" for n in range(len(_BYTES))), "other", "cut", "double"]
        case inspect.BoolType():
            return ["flip"]
        case inspect.VarTupleType():
            return ["empty", "double", "many", "back", "cut"]
        case inspect.EnumType():
            return ["choice"]
        case inspect.StructType():
            return [f"seal:{n}" for n in range(8)]
        case inspect.NoneType():
            return ["none"]
        case _:
            return []


def _leaves(
    value: Any,  # noqa: ANN401
    info: Any,  # noqa: ANN401
    path: tuple[str | int, ...],
    field: str,
) -> Iterator[Leaf]:
    match info:
        case inspect.UnionType(types=types):
            if value is not None:
                yield Leaf(path, inspect.NoneType(), value, field)
                rest = [one for one in types if not isinstance(one, inspect.NoneType)]
                yield from _leaves(value, rest[0], path, field)
        case inspect.StructType(cls=cls) if cls is not Signed:
            for one in info.fields:
                yield from _leaves(getattr(value, one.name), one.type, (*path, one.name), one.name)
        case inspect.VarTupleType(item_type=item):
            yield Leaf(path, info, value, field)
            for n in (0, len(value) - 1) if value else ():
                yield from _leaves(value[n], item, (*path, n), field)
        case inspect.TupleType(item_types=items):
            for n, item in enumerate(items):
                yield from _leaves(value[n], item, (*path, n), field)
        case _:
            yield Leaf(path, info, value, field)


def _with(value: Any, path: tuple[str | int, ...], strange: Any) -> Any:  # noqa: ANN401
    if not path:
        return strange
    head, rest = path[0], path[1:]
    if isinstance(head, int):
        return (*value[:head], _with(value[head], rest, strange), *value[head + 1 :])
    return replace(value, **{head: _with(getattr(value, head), rest, strange)})


@contextmanager
def told_by(liar: Liar) -> Iterator[None]:
    """Nodes started meanwhile know whose they are, and one of them lies."""
    before, host = codec._encoder, sim_world.MemoryHost  # type: ignore[attr-defined]
    codec._encoder = liar  # type: ignore[assignment]
    sim_world.MemoryHost = _NamedHost  # type: ignore[attr-defined]
    try:
        yield
    finally:
        codec._encoder = before
        sim_world.MemoryHost = host  # type: ignore[attr-defined]


class _NamedHost(MemoryHost):
    def attach(self, sink: FrameSink) -> None:
        super().attach(_NamedSink(sink, self.peer_id))


class _NamedSink:
    """What a node is told is handled in its name, whoever's task brings it."""

    def __init__(self, sink: FrameSink, peer: PeerId) -> None:
        self._sink, self._peer = sink, peer

    @contextmanager
    def _as_it(self) -> Iterator[None]:
        before = WHO.set(self._peer)
        try:
            yield
        finally:
            WHO.reset(before)

    def on_frame(self, peer: PeerId, traffic_class: TrafficClass, frame: bytes) -> None:
        with self._as_it():
            self._sink.on_frame(peer, traffic_class, frame)

    def on_up(self, caller: Caller) -> None:
        with self._as_it():
            self._sink.on_up(caller)

    def on_down(self, peer: PeerId, reason: str) -> None:
        with self._as_it():
            self._sink.on_down(peer, reason)
