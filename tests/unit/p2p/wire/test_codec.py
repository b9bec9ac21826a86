"""Messages survive the wire, and nothing else does."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.errors import WireError
from p2p.limits import CONTROL_FRAME_BYTES_MAX, DECODE_DEPTH_MAX, DECODE_NODES_MAX
from p2p.wire.bounds import check_bounds
from p2p.wire.codec import Message, Record, decode, decode_as, encode, number_of


class Greeting(Message, tag=250, frozen=True):
    """A message of this test only."""

    name: str
    count: int
    tags: tuple[str, ...] = ()


class Pair(Record, frozen=True):
    """A record of this test only."""

    left: int
    right: bytes


def test_a_message_survives_the_wire() -> None:
    greeting = Greeting("alice", 3, ("a", "b"))
    assert decode(encode(greeting)) == greeting
    assert number_of(Greeting) == 250


def test_another_msgpack_reads_the_same_fields() -> None:
    assert msgpack.unpackb(encode(Greeting("alice", 3))) == [250, "alice", 3, []]


def test_fields_added_by_a_newer_peer_are_ignored() -> None:
    newer = msgpack.packb([250, "alice", 3, [], "new field"])
    assert decode(newer) == Greeting("alice", 3)


def test_fields_an_older_peer_does_not_send_get_their_default() -> None:
    assert decode(msgpack.packb([250, "alice", 3])) == Greeting("alice", 3)


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"\xc1",
        b"\x91",
        b"\x91\x7f",
        b"\x92\xcc\xfa\x01",
        msgpack.packb([250, "alice", "three"]),
        msgpack.packb([250, "alice", True]),
        msgpack.packb([250, b"alice", 3]),
        msgpack.packb({"a": 1}),
        msgpack.packb([250, "alice", 3]) + b"\x00",
        b"\x93\xcc\xfa\xa2\xff\xfe\x03",
    ],
)
def test_junk_is_refused_with_a_wire_error(junk: bytes) -> None:
    with pytest.raises(WireError):
        decode(junk)


def test_a_length_beyond_the_end_is_refused() -> None:
    with pytest.raises(WireError):
        check_bounds(b"\xc6\xff\xff\xff\xff")


def test_deep_nesting_is_refused_before_decoding() -> None:
    with pytest.raises(WireError):
        check_bounds(b"\x91" * (DECODE_DEPTH_MAX + 1) + b"\x01")
    check_bounds(b"\x91" * DECODE_DEPTH_MAX + b"\x01")


def test_a_flood_of_tiny_values_is_refused() -> None:
    with pytest.raises(WireError):
        check_bounds(msgpack.packb([0] * (DECODE_NODES_MAX + 1)))


def test_a_message_over_the_frame_limit_is_refused() -> None:
    with pytest.raises(WireError):
        decode_as(Pair, encode(Pair(1, b"x" * CONTROL_FRAME_BYTES_MAX)))


@given(st.binary(max_size=300))
def test_any_bytes_end_in_a_message_or_a_wire_error(data: bytes) -> None:
    try:
        decode(data)
    except WireError:
        return


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary() | st.text(),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=20,
)


@given(plain)
def test_the_walk_accepts_what_another_encoder_wrote(value: object) -> None:
    depth = _depth(value)
    packed = msgpack.packb(value)
    if depth <= DECODE_DEPTH_MAX:
        check_bounds(packed)
    else:
        with pytest.raises(WireError):
            check_bounds(packed)


@given(plain, st.integers(0, 10_000))
def test_a_value_cut_short_is_refused(value: object, cut: int) -> None:
    packed = msgpack.packb(value)
    with pytest.raises(WireError):
        check_bounds(packed[: cut % len(packed)])


def _depth(value: object) -> int:
    if isinstance(value, list):
        return 1 + max((_depth(item) for item in value), default=0)
    return 0
