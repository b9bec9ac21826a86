"""For any load: order within a class, nothing lost or invented, nobody starved."""

from hypothesis import given, settings
from hypothesis import strategies as st

from p2p.ids import TrafficClass
from p2p.qos.scheduler import Scheduler, SchedulerConfig

ROOMY = SchedulerConfig(frames_max=10_000, bytes_max=10**9)
LOADS = st.lists(
    st.tuples(st.sampled_from(list(TrafficClass)), st.integers(4, 200_000)), max_size=40
)
ROOMS = st.tuples(*[st.sampled_from([0, 100, 5000, 10**6]) for _ in TrafficClass])


@settings(max_examples=100, deadline=None)
@given(loads=LOADS, rooms=st.lists(ROOMS, max_size=40))
def test_each_class_is_a_queue_and_nothing_is_lost(
    loads: list[tuple[TrafficClass, int]], rooms: list[tuple[int, int, int, int]]
) -> None:
    scheduler = Scheduler(ROOMY)
    put: dict[TrafficClass, bytes] = dict.fromkeys(TrafficClass, b"")
    got: dict[TrafficClass, bytes] = dict.fromkeys(TrafficClass, b"")

    def take(room: tuple[int, int, int, int]) -> bool:
        piece = scheduler.take(room, 0.0)
        if piece is None:
            return False
        assert 0 < len(piece.data) <= room[piece.traffic_class]
        got[piece.traffic_class] += bytes(piece.data)
        return True

    for number, (traffic_class, size) in enumerate(loads):
        frame = bytes([number]) * size
        scheduler.put(traffic_class, frame)
        put[traffic_class] += frame
        if number < len(rooms):
            take(rooms[number])
    while take((10**6,) * 4):
        pass
    assert got == put
    assert (len(scheduler), scheduler.bytes_waiting) == (0, 0)


@settings(max_examples=12, deadline=None)
@given(
    sizes=st.tuples(*[st.integers(1000, 150_000) for _ in TrafficClass]),
    pressing=st.sets(st.sampled_from(list(TrafficClass)[:3])),
)
def test_background_always_gets_its_three_percent(
    sizes: tuple[int, int, int, int], pressing: set[TrafficClass]
) -> None:
    scheduler = Scheduler(ROOMY)
    got = dict.fromkeys(TrafficClass, 0)
    rooms = (10**6,) * 4
    while sum(got.values()) < 4_000_000:
        for traffic_class in [*sorted(pressing), TrafficClass.BACKGROUND]:
            while not scheduler.waiting(traffic_class):
                scheduler.put(traffic_class, bytes(sizes[traffic_class]))
        piece = scheduler.take(rooms, 0.0)
        assert piece is not None
        got[piece.traffic_class] += len(piece.data)
    assert got[TrafficClass.BACKGROUND] >= 0.03 * sum(got.values())


@settings(max_examples=60, deadline=None)
@given(
    loads=st.lists(st.tuples(st.integers(1, 3000), st.booleans()), max_size=60),
    frames_max=st.integers(1, 8),
)
def test_bounds_hold_whatever_is_cast(loads: list[tuple[int, bool]], frames_max: int) -> None:
    scheduler = Scheduler(SchedulerConfig(frames_max=frames_max, bytes_max=5000))
    for size, take in loads:
        scheduler.cast(TrafficClass.CONTROL, bytes(size))
        assert len(scheduler) <= frames_max
        assert scheduler.bytes_waiting <= 5000
        if take:
            scheduler.take((700,) * 4, 0.0)


LINE_BYTES_PER_S = st.floats(50_000, 12_000_000)


@settings(max_examples=12, deadline=None)
@given(
    line=LINE_BYTES_PER_S,
    bulk_part=st.floats(0.06, 1.0),
    pressing=st.sets(st.sampled_from(list(TrafficClass)[:3])),
    size=st.integers(500, 70_000),
)
def test_on_a_known_line_background_has_its_three_percent_of_any_half_minute(
    line: float, bulk_part: float, pressing: set[TrafficClass], size: int
) -> None:
    """The strict classes have a connection of their own; bulk gets only part of the line."""
    scheduler = Scheduler(ROOMY)
    scheduler.line_bytes_per_s = line
    got, rooms, each_second = [0.0], [0.0, 0.0], []
    for step in range(36 * 50):
        rooms = [
            min(rooms[0] + line / 50, 16_384),
            min(rooms[1] + line * bulk_part / 50, 16_384),
        ]
        while True:
            for one in [*sorted(pressing), TrafficClass.BACKGROUND]:
                while not scheduler.waiting(one):
                    scheduler.put(one, bytes(size))
            first, second = int(rooms[0]), int(rooms[1])
            piece = scheduler.take((first, first, second, second), step / 50)
            if piece is None:
                break
            rooms[piece.traffic_class >= TrafficClass.NORMAL] -= len(piece.data)
            if piece.traffic_class is TrafficClass.BACKGROUND:
                got[0] += len(piece.data)
        if step % 50 == 49:
            each_second.append(got[0])
    windows = [after - before for before, after in zip(each_second, each_second[30:], strict=False)]
    assert min(windows) >= 0.03 * 30 * line


@settings(max_examples=40, deadline=None)
@given(
    line=LINE_BYTES_PER_S,
    traffic_class=st.sampled_from(list(TrafficClass)),
    size=st.integers(100, 70_000),
)
def test_what_waits_is_bounded_in_time(line: float, traffic_class: TrafficClass, size: int) -> None:
    config = SchedulerConfig()
    scheduler = Scheduler(config)
    scheduler.line_bytes_per_s = line
    while scheduler.has_room(traffic_class, size):
        scheduler.put(traffic_class, bytes(size))
    waits_s = max(config.waits_s[traffic_class], config.waits_bytes_min / line)
    assert scheduler.bytes_waiting <= max(waits_s * line, size)


@settings(max_examples=60, deadline=None)
@given(
    casts=st.lists(st.tuples(st.sampled_from(list(TrafficClass)), st.floats(0, 2)), max_size=30),
    now_s=st.floats(0, 2),
)
def test_nothing_leaves_after_its_deadline(
    casts: list[tuple[TrafficClass, float]], now_s: float
) -> None:
    scheduler = Scheduler(ROOMY)
    for number, (traffic_class, expires_s) in enumerate(casts):
        scheduler.cast(traffic_class, bytes([number]), expires_s)
    left = 0
    while (piece := scheduler.take((10**6,) * 4, now_s)) is not None:
        left += 1
        assert casts[piece.data[0]][1] > now_s
    assert left == sum(expires_s > now_s for _, expires_s in casts)
    assert scheduler.is_empty
