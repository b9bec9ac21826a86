"""However a byte stream is cut, what it says is the same."""

from hypothesis import given
from hypothesis import strategies as st

from p2p.errors import StreamLimitError, WireError
from p2p.link.config import WINDOW_START_BYTES
from p2p.link.noise import NoiseSession
from p2p.link.yamux import events as ev
from p2p.link.yamux.core import YamuxCore
from p2p.wire.frames import FrameReader, frame

KEYS = bytes(32), bytes([1]) * 32

Cuts = st.lists(st.integers(1, 70_000), max_size=12)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` in pieces of these sizes, the rest at the end."""
    parts, at = [], 0
    for size in cuts:
        parts.append(data[at : at + size])
        at += size
    return [part for part in (*parts, data[at:]) if part]


@given(st.lists(st.integers(0, 140_000), max_size=4), Cuts)
def test_sealed_messages(sizes: list[int], cuts: list[int]) -> None:
    alice = NoiseSession(send_key=KEYS[0], receive_key=KEYS[1])
    bob = NoiseSession(send_key=KEYS[1], receive_key=KEYS[0])
    bodies = [bytes([at]) * size for at, size in enumerate(sizes)]
    wire = b"".join(alice.seal(body) for body in bodies)
    opened = [plain for part in pieces(wire, cuts) for plain in bob.open(part)]
    assert b"".join(opened) == b"".join(bodies)


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(1, 40), max_size=40))
def test_frames(bodies: list[bytes], cuts: list[int]) -> None:
    reader = FrameReader(300)
    wire = b"".join(frame(body) for body in bodies)
    assert [found for part in pieces(wire, cuts) for found in reader.feed(part)] == bodies
    assert reader.is_between_frames


Step = st.tuples(st.sampled_from(["open", "write", "finish", "reset", "ping"]), st.integers(0, 9))


def conversation(steps: list[tuple[str, int]]) -> bytes:
    alice = YamuxCore(is_initiator=True)
    for number, (step, which) in enumerate(steps):
        stream_id = 1 + 2 * which
        match step:
            case "open":
                try:
                    alice.open_stream()
                except StreamLimitError:
                    continue
            case "write":
                alice.write(stream_id, bytes([number % 256]) * (which * 9000 + 1))
            case "finish":
                alice.finish(stream_id)
            case "reset":
                alice.reset(stream_id)
            case _:
                alice.ping(number)
    return alice.output.take()


def meaning(events: list[ev.FromPeer]) -> list[ev.FromPeer]:
    """The events, with neighbouring pieces of one stream joined."""
    joined: list[ev.FromPeer] = []
    for event in events:
        last = joined[-1] if joined else None
        if isinstance(event, ev.Received):
            event = ev.Received(event.stream_id, bytes(event.data))
            if isinstance(last, ev.Received) and last.stream_id == event.stream_id:
                joined[-1] = ev.Received(last.stream_id, bytes(last.data) + bytes(event.data))
                continue
        joined.append(event)
    return joined


@given(st.lists(Step, max_size=30), Cuts)
def test_yamux(steps: list[tuple[str, int]], cuts: list[int]) -> None:
    wire = conversation(steps)
    whole, cut = YamuxCore(is_initiator=False), YamuxCore(is_initiator=False)
    expected = list(whole.feed(wire))
    heard = [event for part in pieces(wire, cuts) for event in cut.feed(part)]
    assert meaning(heard) == meaning(expected)
    assert cut.output.take() == whole.output.take()
    assert cut.windows.unread_bytes == whole.windows.unread_bytes


@given(st.binary(max_size=200), st.lists(st.integers(1, 30), max_size=10))
def test_any_bytes_mean_something_or_are_refused(junk: bytes, cuts: list[int]) -> None:
    bob = YamuxCore(is_initiator=False)
    try:
        for part in pieces(junk, cuts):
            for event in bob.feed(part):
                assert not isinstance(event, ev.Received) or bob.windows.unread_bytes > 0
    except WireError:
        return
    assert bob.windows.unread_bytes <= WINDOW_START_BYTES
