"""Who goes first, who waits, what is dropped."""

import pytest

from p2p.ids import TrafficClass
from p2p.qos.scheduler import Scheduler, SchedulerConfig

CONTROL, INTERACTIVE, NORMAL, BACKGROUND = TrafficClass
OPEN = (10**6,) * 4


def drain(scheduler: Scheduler, now_s: float = 0.0) -> list[tuple[TrafficClass, bytes]]:
    """Whole frames in the order in which they are complete."""
    parts: dict[TrafficClass, bytes] = dict.fromkeys(TrafficClass, b"")
    frames = []
    while (piece := scheduler.take(OPEN, now_s)) is not None:
        parts[piece.traffic_class] += bytes(piece.data)
        if piece.is_last:
            frames.append((piece.traffic_class, parts[piece.traffic_class]))
            parts[piece.traffic_class] = b""
    return frames


def sent_until(scheduler: Scheduler, total: int) -> dict[TrafficClass, int]:
    """Bytes each class gets of the next `total`."""
    got = dict.fromkeys(TrafficClass, 0)
    while sum(got.values()) < total:
        piece = scheduler.take(OPEN, 0.0)
        assert piece is not None
        got[piece.traffic_class] += len(piece.data)
    return got


def test_urgent_frames_go_first_and_classes_keep_their_order() -> None:
    scheduler = Scheduler()
    for traffic_class in (BACKGROUND, NORMAL, INTERACTIVE, CONTROL):
        scheduler.put(traffic_class, b"1")
        scheduler.put(traffic_class, b"2")
    frames = drain(scheduler)
    assert frames[:4] == [
        (CONTROL, b"1"),
        (CONTROL, b"2"),
        (INTERACTIVE, b"1"),
        (INTERACTIVE, b"2"),
    ]
    assert [f for f in frames if f[0] == BACKGROUND] == [(BACKGROUND, b"1"), (BACKGROUND, b"2")]


def test_a_small_urgent_frame_does_not_wait_for_the_rest_of_a_large_one() -> None:
    scheduler = Scheduler()
    scheduler.put(NORMAL, bytes(500_000))
    first = scheduler.take(OPEN, 0.0)
    assert first is not None
    assert not first.is_last
    scheduler.put(CONTROL, b"ping")
    second = scheduler.take(OPEN, 0.0)
    assert second is not None
    assert second.traffic_class is CONTROL
    assert drain(scheduler)[-1][0] is NORMAL


def test_normal_and_background_share_eight_to_one() -> None:
    scheduler = Scheduler(SchedulerConfig(frames_max=1000, bytes_max=10**9))
    for _ in range(500):
        scheduler.put(NORMAL, bytes(20_000))
        scheduler.put(BACKGROUND, bytes(20_000))
    got = sent_until(scheduler, 5_000_000)
    assert got[NORMAL] / got[BACKGROUND] == pytest.approx(8, rel=0.1)


def test_when_all_press_everybody_gets_the_promised_share() -> None:
    scheduler = Scheduler(SchedulerConfig(frames_max=10_000, bytes_max=10**9))
    for _ in range(2000):
        for traffic_class in TrafficClass:
            scheduler.put(traffic_class, bytes(10_000))
    got = sent_until(scheduler, 10_000_000)
    total = sum(got.values())
    assert got[CONTROL] / total == pytest.approx(0.10, abs=0.02)
    assert got[INTERACTIVE] / total == pytest.approx(0.54, abs=0.03)
    assert got[BACKGROUND] / total >= 0.03


def test_a_class_that_is_alone_gets_everything() -> None:
    for traffic_class in TrafficClass:
        scheduler = Scheduler()
        for _ in range(30):
            scheduler.put(traffic_class, bytes(100_000))
        assert len(drain(scheduler)) == 30


def test_a_class_whose_stream_is_full_holds_up_nobody() -> None:
    scheduler = Scheduler()
    scheduler.put(CONTROL, b"c")
    scheduler.put(BACKGROUND, b"b")
    piece = scheduler.take((0, 0, 0, 10), 0.0)
    assert piece is not None
    assert piece.traffic_class is BACKGROUND
    assert scheduler.take((0, 10, 10, 10), 0.0) is None


def test_casts_push_out_the_oldest_cast_but_never_a_sent_frame() -> None:
    scheduler = Scheduler(SchedulerConfig(frames_max=3))
    scheduler.put(CONTROL, b"must arrive")
    for number in range(5):
        assert scheduler.cast(CONTROL, b"%d" % number)
    assert [data for _, data in drain(scheduler)] == [b"must arrive", b"3", b"4"]
    assert scheduler.dropped == 3
    for _ in range(3):
        scheduler.put(CONTROL, b"must arrive")
    assert not scheduler.cast(CONTROL, b"no room")


def test_a_frame_that_has_begun_is_not_dropped() -> None:
    scheduler = Scheduler(SchedulerConfig(frames_max=1))
    scheduler.cast(NORMAL, bytes(100_000), expires_s=1.0)
    scheduler.take(OPEN, 0.0)
    assert not scheduler.cast(NORMAL, b"newer")
    assert drain(scheduler, now_s=5.0) == [(NORMAL, bytes(100_000 - 65_507))]


def test_an_expired_cast_is_not_sent() -> None:
    scheduler = Scheduler()
    scheduler.cast(CONTROL, b"stale", expires_s=1.0)
    scheduler.cast(CONTROL, b"fresh", expires_s=9.0)
    assert drain(scheduler, now_s=2.0) == [(CONTROL, b"fresh")]
    assert scheduler.dropped == 1


def test_room_is_bounded_by_count_and_by_bytes_but_one_frame_always_fits() -> None:
    scheduler = Scheduler(SchedulerConfig(frames_max=2, bytes_max=100))
    assert scheduler.has_room(NORMAL, 1000)
    scheduler.put(NORMAL, bytes(60))
    assert not scheduler.has_room(NORMAL, 60)
    assert scheduler.has_room(NORMAL, 40)
    scheduler.put(NORMAL, b"x")
    assert not scheduler.has_room(NORMAL, 1)
    assert scheduler.has_room(BACKGROUND, 60)


def test_clear_forgets_everything() -> None:
    scheduler = Scheduler()
    scheduler.put(NORMAL, bytes(200_000))
    scheduler.take(OPEN, 0.0)
    scheduler.clear()
    assert (len(scheduler), scheduler.bytes_waiting) == (0, 0)
    assert scheduler.take(OPEN, 0.0) is None
