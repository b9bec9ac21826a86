"""Yamux by the specification: windows, ends, resets, limits and goodbyes."""

import pytest

from p2p.errors import StreamLimitError, WireError
from p2p.limits import PONGS_WAITING_MAX
from p2p.link.config import WINDOW_START_BYTES, YamuxConfig
from p2p.link.yamux import events as ev
from p2p.link.yamux import frames as y
from p2p.link.yamux.core import YamuxCore
from p2p.link.yamux.frames import HEADER
from tests.yamux_lab import consume


class Pair:
    """Two cores whose output is fed to each other."""

    def __init__(self, config: YamuxConfig | None = None) -> None:
        self.alice = YamuxCore(is_initiator=True, config=config)
        self.bob = YamuxCore(is_initiator=False, config=config)

    def to_bob(self) -> list[ev.FromPeer]:
        """What bob sees of it, but for windows."""
        events = list(self.bob.feed(self.alice.output.take()))
        return [event for event in events if not isinstance(event, ev.WindowGrew)]

    def to_alice(self) -> list[ev.FromPeer]:
        """The same the other way."""
        events = list(self.alice.feed(self.bob.output.take()))
        return [event for event in events if not isinstance(event, ev.WindowGrew)]


def syn(stream_id: int) -> bytes:
    return HEADER.pack(0, y.WINDOW_UPDATE, y.SYN, stream_id, 0)


def data(stream_id: int, body: bytes, flags: int = 0) -> bytes:
    return HEADER.pack(0, y.DATA, flags, stream_id, len(body)) + body


def test_a_stream_carries_bytes_both_ways_and_ends_each_way() -> None:
    pair = Pair()
    one = pair.alice.open_stream()
    pair.alice.write(one, b"hello")
    pair.alice.finish(one)
    assert pair.to_bob() == [ev.StreamOpened(one), ev.Received(one, b"hello"), ev.Finished(one)]
    pair.bob.write(one, b"bye")
    pair.bob.finish(one)
    assert pair.to_alice() == [ev.Received(one, b"bye"), ev.Finished(one)]
    assert not pair.alice.has(one)
    assert not pair.bob.has(one)


def test_a_reset_is_told_apart_from_an_end() -> None:
    pair = Pair()
    one = pair.alice.open_stream()
    pair.to_bob()
    pair.alice.reset(one)
    assert pair.to_bob() == [ev.WasReset(one)]
    assert not pair.bob.has(one)


def test_a_writer_stops_at_the_window_and_goes_on_when_it_grows() -> None:
    pair = Pair()
    one = pair.alice.open_stream()
    sent = pair.alice.write(one, bytes(10**6))
    assert sent == WINDOW_START_BYTES
    assert pair.alice.write(one, b"more") == 0
    received = sum(len(e.data) for e in pair.to_bob() if isinstance(e, ev.Received))
    consume(pair.bob, one, received)
    assert list(pair.alice.feed(pair.bob.output.take())) == [ev.WindowGrew(one)]
    assert pair.alice.window_of(one) == YamuxConfig().window_bytes


def test_small_reads_grant_nothing_until_half_a_window_is_free() -> None:
    config = YamuxConfig(window_bytes=WINDOW_START_BYTES)
    pair = Pair(config)
    one = pair.alice.open_stream()
    pair.alice.write(one, bytes(WINDOW_START_BYTES))
    pair.to_bob()
    pair.bob.output.take()
    consume(pair.bob, one, WINDOW_START_BYTES // 2 - 1)
    assert pair.bob.output.size_bytes == 0
    consume(pair.bob, one, 1)
    assert pair.bob.output.size_bytes == HEADER.size


def test_more_than_the_window_is_refused() -> None:
    bob = YamuxCore(is_initiator=False)
    body = bytes(WINDOW_START_BYTES)
    list(bob.feed(syn(1) + data(1, body)))
    with pytest.raises(WireError, match="window 0"):
        list(bob.feed(data(1, b"x")))


def test_a_length_is_refused_before_its_body_arrives() -> None:
    bob = YamuxCore(is_initiator=False)
    with pytest.raises(WireError):
        list(bob.feed(syn(1) + HEADER.pack(0, y.DATA, 0, 1, 2**32 - 1)))
    carol = YamuxCore(is_initiator=False)
    with pytest.raises(WireError):
        list(carol.feed(HEADER.pack(0, y.DATA, 0, 99, 2**32 - 1)))


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(HEADER.pack(1, y.DATA, 0, 1, 0), id="version 1"),
        pytest.param(HEADER.pack(0, 4, 0, 1, 0), id="type 4"),
        pytest.param(HEADER.pack(0, y.DATA, 0, 0, 5), id="data on stream 0"),
        pytest.param(syn(2), id="an id that is ours to give"),
        pytest.param(syn(1) + syn(1), id="an id that is in use"),
    ],
)
def test_what_the_specification_forbids_is_refused(frame: bytes) -> None:
    bob = YamuxCore(is_initiator=False)
    with pytest.raises(WireError):
        list(bob.feed(frame))


def test_a_stream_too_many_is_refused_not_left_hanging() -> None:
    pair = Pair(YamuxConfig(streams_inbound_max=2))
    ids = [pair.alice.open_stream() for _ in range(3)]
    assert pair.to_bob() == [ev.StreamOpened(ids[0]), ev.StreamOpened(ids[1])]
    assert ev.WasReset(ids[2]) in pair.to_alice()
    pair.alice.reset(ids[0])
    pair.to_bob()
    assert pair.to_bob() == []
    again = pair.alice.open_stream()
    assert pair.to_bob() == [ev.StreamOpened(again)]


def test_our_own_streams_have_a_limit_too() -> None:
    alice = YamuxCore(is_initiator=True, config=YamuxConfig(streams_outbound_max=1))
    alice.open_stream()
    with pytest.raises(StreamLimitError):
        alice.open_stream()


def test_unread_bytes_of_all_streams_together_are_bounded() -> None:
    pair = Pair()
    pair.bob.windows.unread_bytes_max = 100
    one, two = pair.alice.open_stream(), pair.alice.open_stream()
    pair.alice.write(one, bytes(80))
    pair.alice.write(two, bytes(80))
    assert ev.WasReset(two) in pair.to_bob()
    consume(pair.bob, one, 80)
    three = pair.alice.open_stream()
    pair.alice.write(three, bytes(80))
    assert ev.Received(three, bytes(80)) in pair.to_bob()


def test_bytes_for_a_stream_we_reset_are_thrown_away() -> None:
    bob = YamuxCore(is_initiator=False)
    list(bob.feed(syn(1)))
    bob.reset(1)
    assert list(bob.feed(data(1, b"late", y.FIN) + syn(3))) == [ev.StreamOpened(3)]


def test_a_ping_is_answered_with_its_value() -> None:
    pair = Pair()
    pair.alice.ping(77)
    assert pair.to_bob() == []
    assert pair.to_alice() == [ev.Ponged(77)]


def test_a_goodbye_carries_its_code_and_ends_new_streams() -> None:
    pair = Pair()
    pair.bob.leave(y.PROTOCOL_ERROR)
    pair.bob.leave(y.NORMAL)
    assert pair.to_alice() == [ev.PeerLeft(y.PROTOCOL_ERROR)]
    one = pair.alice.open_stream()
    assert pair.to_bob() == []
    assert ev.WasReset(one) in pair.to_alice()


def test_a_data_frame_may_open_its_stream() -> None:
    bob = YamuxCore(is_initiator=False)
    assert list(bob.feed(data(1, b"hi", y.SYN | y.FIN))) == [
        ev.StreamOpened(1),
        ev.Received(1, b"hi"),
        ev.Finished(1),
    ]


def test_a_frame_of_ours_fills_one_noise_message() -> None:
    assert y.DATA_BYTES_MAX == 65_507
    pair = Pair()
    one = pair.alice.open_stream()
    pair.alice.output.take()
    pair.alice.write(one, bytes(y.DATA_BYTES_MAX))
    assert len(pair.alice.output.take()) == 65_519


def test_pings_are_answered_while_the_answers_leave_and_no_longer() -> None:
    core = YamuxCore(is_initiator=False)
    ping = HEADER.pack(0, y.PING, y.SYN, 0, 7)
    for _ in range(10):
        assert list(core.feed(ping * PONGS_WAITING_MAX)) == []
        assert len(core.output.take()) == len(ping) * PONGS_WAITING_MAX
    with pytest.raises(WireError, match="pings without end"):
        list(core.feed(ping * (PONGS_WAITING_MAX + 1)))
