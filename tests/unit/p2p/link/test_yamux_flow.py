"""How bytes flow through Yamux: windows that grow, writes that join, what is kept of what came."""

import pytest

from p2p.errors import WireError
from p2p.limits import (
    GUEST_UNREAD_BYTES_MAX,
    NODE_UNREAD_BYTES_MAX,
    NODE_WINDOWS_BYTES_MAX,
    STREAM_WINDOW_BYTES_MAX,
    STREAM_WINDOW_GROWN_BYTES_MAX,
)
from p2p.link.config import WINDOW_START_BYTES, YamuxConfig
from p2p.link.memory import UnreadMemory
from p2p.link.noise import PLAIN_BYTES_MAX
from p2p.link.yamux import events as ev
from p2p.link.yamux import frames as y
from p2p.link.yamux.core import YamuxCore
from p2p.link.yamux.frames import HEADER
from tests.yamux_lab import consume

CONFIG = YamuxConfig(window_bytes=WINDOW_START_BYTES, window_bytes_max=4 * WINDOW_START_BYTES)
RTT_S = 0.1


def reader_and_stream() -> tuple[YamuxCore, int]:
    bob = YamuxCore(is_initiator=False, config=CONFIG)
    bob.windows.rtt_s = RTT_S
    list(bob.feed(HEADER.pack(0, y.DATA, y.SYN, 1, 0)))
    bob.output.take()
    return bob, 1


def take_in(bob: YamuxCore, stream_id: int, size: int) -> None:
    list(bob.feed(HEADER.pack(0, y.DATA, 0, stream_id, size) + bytes(size)))


def granted(bob: YamuxCore) -> int:
    output = bob.output.take()
    return HEADER.unpack(output)[4] if output else 0


def test_a_window_that_holds_up_the_path_doubles_up_to_its_maximum() -> None:
    bob, stream = reader_and_stream()
    half, now_s = CONFIG.window_bytes // 2, 10.0
    grants = []
    for _ in range(6):
        take_in(bob, stream, half)
        now_s += RTT_S / 2
        consume(bob, stream, half, now_s)
        grants.append(granted(bob))
    assert grants[:3] == [half, half + CONFIG.window_bytes, 0]
    assert sum(grants) - 6 * half <= CONFIG.window_bytes_max - CONFIG.window_bytes


def test_a_window_that_lasts_longer_than_two_round_trips_stays_as_it_is() -> None:
    bob, stream = reader_and_stream()
    half, now_s = CONFIG.window_bytes // 2, 10.0
    for _ in range(6):
        take_in(bob, stream, half)
        now_s += 3 * RTT_S
        consume(bob, stream, half, now_s)
        assert granted(bob) == half


def test_a_window_grows_to_a_quarter_of_what_the_connection_may_hold_and_is_never_reset() -> None:
    bob, stream = reader_and_stream()
    bob.windows.unread_bytes_max = 2 * CONFIG.window_bytes
    half, now_s = CONFIG.window_bytes // 2, 10.0
    for _ in range(6):
        take_in(bob, stream, half)
        now_s += RTT_S / 2
        consume(bob, stream, half, now_s)
        assert granted(bob) == half
    take_in(bob, stream, CONFIG.window_bytes)
    assert bob.has(stream)


def sharing(memory: UnreadMemory) -> YamuxCore:
    """A connection with one stream, whose node lets windows grow out of `memory`."""
    bob = YamuxCore(is_initiator=False, memory=memory)
    bob.windows.rtt_s = RTT_S
    list(bob.feed(HEADER.pack(0, y.DATA, y.SYN, 1, 0)))
    bob.output.take()
    return bob


def fill_the_path(bob: YamuxCore, seconds: float) -> int:
    """The peer sends whatever it may, each round trip, and all of it is read; the window then."""
    now_s, window = 10.0, WINDOW_START_BYTES
    while now_s < 10.0 + seconds:
        for _ in range(window // WINDOW_START_BYTES):
            take_in(bob, 1, WINDOW_START_BYTES)
            now_s += RTT_S * WINDOW_START_BYTES / window
            consume(bob, 1, WINDOW_START_BYTES, now_s)
            window += granted(bob) - WINDOW_START_BYTES
    return window


def test_on_a_long_fast_path_a_window_grows_to_96_mib_within_a_second_and_a_half() -> None:
    memory = UnreadMemory(NODE_UNREAD_BYTES_MAX, NODE_WINDOWS_BYTES_MAX)
    bob = sharing(memory)
    assert fill_the_path(bob, 1.5) == STREAM_WINDOW_GROWN_BYTES_MAX
    assert memory.reserved_bytes == STREAM_WINDOW_GROWN_BYTES_MAX - STREAM_WINDOW_BYTES_MAX


def test_what_all_windows_promise_stays_within_what_the_node_has() -> None:
    memory = UnreadMemory(NODE_UNREAD_BYTES_MAX, NODE_WINDOWS_BYTES_MAX)
    peers = [sharing(memory) for _ in range(6)]
    windows = [fill_the_path(bob, 1.5) for bob in peers]
    assert windows[:2] == 2 * [STREAM_WINDOW_GROWN_BYTES_MAX]
    assert windows[-1] == STREAM_WINDOW_BYTES_MAX  # nothing was left for it but its own
    assert memory.reserved_bytes <= NODE_WINDOWS_BYTES_MAX
    for bob in peers:
        bob.reset(1)
    assert memory.reserved_bytes == 0
    assert fill_the_path(sharing(memory), 1.5) == STREAM_WINDOW_GROWN_BYTES_MAX


def test_whoever_fills_a_grown_window_at_once_is_not_reset() -> None:
    bob = sharing(UnreadMemory(NODE_UNREAD_BYTES_MAX, NODE_WINDOWS_BYTES_MAX))
    window = fill_the_path(bob, 1.5)
    for _ in range(window // WINDOW_START_BYTES):
        take_in(bob, 1, WINDOW_START_BYTES)
    assert bob.has(1)
    assert bob.windows.unread_bytes == window


def test_a_strangers_window_takes_nothing_of_the_nodes() -> None:
    memory = UnreadMemory(NODE_UNREAD_BYTES_MAX, NODE_WINDOWS_BYTES_MAX)
    bob = sharing(memory)
    bob.windows.unread_bytes_max = GUEST_UNREAD_BYTES_MAX
    fill_the_path(bob, 1.5)
    assert memory.reserved_bytes == 0


def test_more_than_a_grown_window_is_still_refused() -> None:
    bob, stream = reader_and_stream()
    half = CONFIG.window_bytes // 2
    take_in(bob, stream, half)
    consume(bob, stream, half, 10.0)
    with pytest.raises(WireError, match=f"window {CONFIG.window_bytes}"):
        take_in(bob, stream, CONFIG.window_bytes + 1)


def test_small_writes_to_one_stream_leave_as_one_frame() -> None:
    alice, bob = YamuxCore(is_initiator=True), YamuxCore(is_initiator=False)
    one, other = alice.open_stream(), alice.open_stream()
    for word in (b"a", b"bc", b"d"):
        alice.write(one, word)
    alice.write(other, b"x")
    alice.write(one, b"e")
    heard = [e for e in bob.feed(alice.output.take()) if isinstance(e, ev.Received)]
    assert heard == [ev.Received(one, b"abcd"), ev.Received(other, b"x"), ev.Received(one, b"e")]


def test_nothing_joins_a_frame_that_has_left() -> None:
    alice = YamuxCore(is_initiator=True)
    one = alice.open_stream()
    alice.write(one, b"a")
    alice.output.take()
    alice.write(one, b"b")
    assert alice.output.take() == HEADER.pack(0, y.DATA, 0, one, 1) + b"b"


def test_nothing_joins_a_frame_behind_which_the_stream_ended() -> None:
    alice, bob = YamuxCore(is_initiator=True), YamuxCore(is_initiator=False)
    one = alice.open_stream()
    alice.write(one, b"a")
    alice.finish(one)
    assert alice.write(one, b"b") == 0
    heard = list(bob.feed(alice.output.take()))
    assert heard[-2:] == [ev.Received(one, b"a"), ev.Finished(one)]


def test_joined_frames_fill_one_noise_message_and_no_more() -> None:
    alice, bob = YamuxCore(is_initiator=True), YamuxCore(is_initiator=False)
    one = alice.open_stream()
    list(bob.feed(alice.output.take()))
    alice.write(one, bytes(y.DATA_BYTES_MAX - 1))
    alice.write(one, b"ab")
    output = alice.output.take()
    assert HEADER.unpack_from(output)[4] == y.DATA_BYTES_MAX
    assert HEADER.unpack_from(output, PLAIN_BYTES_MAX)[4] == 1
    heard = b"".join(bytes(e.data) for e in bob.feed(output) if isinstance(e, ev.Received))
    assert heard == bytes(y.DATA_BYTES_MAX - 1) + b"ab"


def test_what_a_writer_changes_afterwards_is_not_what_leaves() -> None:
    alice, bob = YamuxCore(is_initiator=True), YamuxCore(is_initiator=False)
    one = alice.open_stream()
    scratch = bytearray(b"first")
    alice.write(one, memoryview(scratch))
    scratch[:] = b"later"
    assert list(bob.feed(alice.output.take()))[-1] == ev.Received(one, b"first")


def test_a_small_unread_piece_does_not_keep_the_whole_message() -> None:
    bob, stream = reader_and_stream()
    small = HEADER.pack(0, y.DATA, 0, stream, 10) + b"0123456789"
    large = HEADER.pack(0, y.DATA, 0, stream, 60_000) + bytes(60_000)
    kept = [e.data for e in bob.feed(small + large) if isinstance(e, ev.Received)]
    assert [type(data) for data in kept] == [bytes, memoryview]
    assert bytes(kept[0]) == b"0123456789"


def test_a_large_window_grows_back_in_small_steps() -> None:
    bob = YamuxCore(is_initiator=False, config=YamuxConfig(window_bytes=4 * 1024 * 1024))
    list(bob.feed(HEADER.pack(0, y.DATA, y.SYN, 1, 0)))
    take_in(bob, 1, 1)
    consume(bob, 1, 1)
    bob.output.take()  # the whole window, once
    grants = []
    for _ in range(8):
        take_in(bob, 1, 64 * 1024)
        consume(bob, 1, 64 * 1024)
        grants.append(granted(bob))
    assert grants == [0, 0, 0, 256 * 1024] * 2


def test_frames_that_bring_no_stream_any_further_are_told_from_those_that_do() -> None:
    bob = YamuxCore(is_initiator=False)
    useful = HEADER.pack(0, y.DATA, 0, 1, 2) + b"hi" + HEADER.pack(0, y.WINDOW_UPDATE, 0, 1, 9)
    list(bob.feed(HEADER.pack(0, y.DATA, y.SYN, 1, 0) + useful))
    assert (bob.frames_in, bob.frames_idle) == (3, 1)
    list(bob.feed(HEADER.pack(0, y.WINDOW_UPDATE, y.RST, 1, 0) + useful))
    assert (bob.frames_in, bob.frames_idle) == (6, 4)
    list(bob.feed(HEADER.pack(0, y.PING, y.SYN, 0, 7) + HEADER.pack(0, y.PING, y.ACK, 0, 7)))
    assert (bob.frames_in, bob.frames_idle) == (8, 5)


def test_others_may_have_a_turn_between_many_frames() -> None:
    bob = YamuxCore(is_initiator=False)
    pings = HEADER.pack(0, y.PING, y.ACK, 0, 7) * 10
    heard = list(bob.feed(pings, 4))
    assert [isinstance(event, ev.Paused) for event in heard].count(True) == 2
    assert [event for event in heard if not isinstance(event, ev.Paused)] == 10 * [ev.Ponged(7)]
    assert ev.Paused() not in list(bob.feed(pings))
