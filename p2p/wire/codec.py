"""Typed messages to bytes and back: frozen structs with a number, as MessagePack arrays.

A message is `[number, field, field, ...]`. Numbers are append-only (docs/protocol.md lists the
ranges): 1-19 link and rpc, 20-39 admission and membership, 40-59 gossip and overlay, 60-99
storage, 100-149 market, 150-179 tasks and memory, 180-199 services. New fields go last, with a
default, so that an older peer ignores them and a newer one fills them in.
"""

from typing import TypeVar

import msgspec

from p2p.errors import WireError
from p2p.limits import CONTROL_FRAME_BYTES_MAX
from p2p.wire.bounds import check_bounds


class Message(msgspec.Struct, frozen=True, array_like=True):
    """Base of every wire message: `class Bid(Message, tag=101, frozen=True)`."""


class Record(msgspec.Struct, frozen=True, array_like=True):
    """Base of structs that are stored, signed or nested; they have no number of their own."""


MessageT = TypeVar("MessageT", bound=Message)
StructT = TypeVar("StructT", bound=msgspec.Struct)

_encoder = msgspec.msgpack.Encoder()
_decoders: dict[type[msgspec.Struct], msgspec.msgpack.Decoder[msgspec.Struct]] = {}
_types: dict[int, type[Message]] = {}


def encode(value: msgspec.Struct) -> bytes:
    """Pack a message or record; the same value always gives the same bytes."""
    return _encoder.encode(value)


def decode(data: bytes, bytes_max: int = CONTROL_FRAME_BYTES_MAX) -> Message:
    """Unpack one message of any known number, or raise WireError."""
    return decode_as(_type_of(data), data, bytes_max)


def decode_as(
    kind: type[StructT], data: bytes, bytes_max: int = CONTROL_FRAME_BYTES_MAX
) -> StructT:
    """Unpack one struct of a known type, checked for size, depth and field types.

    Raises WireError for anything else, whatever the bytes are.
    """
    if len(data) > bytes_max:
        raise WireError(f"{kind.__name__} of {len(data)} bytes exceeds {bytes_max}")
    check_bounds(data)
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.msgpack.Decoder(kind)
    try:
        value = decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise WireError(f"not a {kind.__name__}: {exc}") from exc
    assert isinstance(value, kind)
    return value


def number_of(kind: type[Message]) -> int:
    """The wire number a message class was declared with."""
    tag = kind.__struct_config__.tag
    if not isinstance(tag, int):
        raise TypeError(f"{kind.__name__} was declared without a number")
    return tag


def number_in(data: bytes) -> int:
    """The number a packed message starts with, known to us or not; -1 when it has none."""
    return _leading_number(data)


def _type_of(data: bytes) -> type[Message]:
    number = _leading_number(data)
    kind = _types.get(number)
    if kind is None:
        _types.update(_declared())
        kind = _types.get(number)
    if kind is None:
        raise WireError(f"no message has the number {number}")
    return kind


def _declared() -> dict[int, type[Message]]:
    kinds: dict[int, type[Message]] = {}
    for kind in Message.__subclasses__():
        number = number_of(kind)
        if kinds.setdefault(number, kind) is not kind:
            raise TypeError(f"{kind.__name__} and {kinds[number].__name__} share number {number}")
    return kinds


def _leading_number(data: bytes) -> int:
    """The first element of a MessagePack array, or -1 where there is none."""
    if len(data) >= 2 and 0x91 <= data[0] <= 0x9F:
        at = 1
    elif len(data) >= 4 and data[0] == 0xDC:
        at = 3
    else:
        return -1
    if data[at] <= 0x7F:
        return data[at]
    if data[at] == 0xCC and len(data) > at + 1:
        return data[at + 1]
    return -1
