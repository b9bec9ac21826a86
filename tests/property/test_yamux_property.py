"""Whatever is written arrives once, in order, however the bytes are cut; garbage only raises."""

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from p2p.errors import WireError
from p2p.link.yamux import events as ev
from p2p.link.yamux import frames as y
from p2p.link.yamux.core import YamuxCore
from tests.yamux_lab import consume

STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 400_000), st.booleans()), max_size=30)


@settings(max_examples=30, deadline=None)
@given(steps=STEPS, cut=st.sampled_from([997, 65_519, 10**6]))
def test_every_byte_arrives_once_and_in_order(steps: list[tuple[int, int, bool]], cut: int) -> None:
    alice, bob = YamuxCore(is_initiator=True), YamuxCore(is_initiator=False)
    streams = [alice.open_stream() for _ in range(4)]
    sent = dict.fromkeys(streams, 0)
    got = dict.fromkeys(streams, 0)

    def move() -> None:
        wire = alice.output.take()
        for at in range(0, len(wire), cut):
            for event in bob.feed(wire[at : at + cut]):
                if isinstance(event, ev.Received):
                    expected = pattern(event.stream_id, got[event.stream_id], len(event.data))
                    assert event.data == expected
                    got[event.stream_id] += len(event.data)
                    consume(bob, event.stream_id, len(event.data))
        list(alice.feed(bob.output.take()))

    for which, size, flush in steps:
        stream = streams[which]
        sent[stream] += alice.write(stream, pattern(stream, sent[stream], size))
        if flush:
            move()
    move()
    assert got == sent


def pattern(stream: int, start: int, size: int) -> bytes:
    """Bytes that say where in which stream they belong."""
    unit = bytes((stream * 31 + n) % 251 for n in range(251))
    turns = unit * (size // 251 + 2)
    return turns[start % 251 : start % 251 + size]


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200))
def test_garbage_ends_in_wire_error_or_in_nothing(data: bytes) -> None:
    core = YamuxCore(is_initiator=False)
    with contextlib.suppress(WireError):
        for event in core.feed(data):
            assert isinstance(event, ev.FromPeer)


@settings(max_examples=200, deadline=None)
@given(
    frames=st.lists(
        st.tuples(
            st.sampled_from([y.DATA, y.WINDOW_UPDATE, y.PING, y.GO_AWAY]),
            st.integers(0, 15),
            st.integers(0, 7),
            st.integers(0, 300),
        ),
        max_size=20,
    )
)
def test_any_sequence_of_frames_keeps_the_books_balanced(
    frames: list[tuple[int, int, int, int]],
) -> None:
    core = YamuxCore(is_initiator=False)
    is_refused = True
    with contextlib.suppress(WireError):
        for kind, flags, stream, length in frames:
            body = bytes(length) if kind == y.DATA else b""
            header = y.HEADER.pack(0, kind, flags, stream, length)
            for event in core.feed(header + body):
                if isinstance(event, ev.Received):
                    consume(core, event.stream_id, len(event.data))
        is_refused = False
    for stream in range(1, 8):
        core.reset(stream)
    if not is_refused:
        fresh = list(core.feed(y.HEADER.pack(0, y.WINDOW_UPDATE, y.SYN, 101, 0)))
        assert fresh == [ev.StreamOpened(101)]
