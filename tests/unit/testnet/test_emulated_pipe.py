"""One emulated direction does to packets what its shape says, exactly, on a clock of its own."""

import random

import pytest

from testnet.emulator.pipe import Pipe
from testnet.emulator.queues import Queue
from testnet.emulator.shape import Discipline, LinkShape

EF, CS1 = 46, 8


def packet(size: int = 1000, *, flow: int = 1, dscp: int = 0, number: int = 0) -> bytes:
    """An IPv4 packet of UDP, from port `flow`."""
    head = bytes([0x45, dscp << 2]) + bytes(7) + b"\x11" + bytes(2) + bytes([10, 77, 0, 1] * 2)
    return (head + flow.to_bytes(2) + bytes(6) + number.to_bytes(4)).ljust(size, b".")


def number_of(data: bytes) -> int:
    return int.from_bytes(data[28:32])


def pipe(seed: int = 1, **shape: float) -> Pipe:
    return Pipe(LinkShape(**shape), random.Random(seed))  # type: ignore[arg-type]


def arrivals(line: Pipe, until_s: float) -> list[float]:
    """When each packet arrives, served whenever it asks for it."""
    times: list[float] = []
    while (now_s := line.next_s()) <= until_s:
        times += [now_s] * len(line.advance(now_s))
    return times


def test_a_packet_arrives_after_the_delay() -> None:
    line = pipe(delay_ms=20)
    line.offer(packet(), 1.0)
    assert line.advance(1.0199) == []
    assert line.advance(1.02) == [packet()]


def test_packets_leave_at_the_rate_of_the_line() -> None:
    line = pipe(rate_mbit=8, delay_ms=10)
    for _ in range(100):
        line.offer(packet(1000), 0.0)
    times = arrivals(line, 10.0)
    assert times[0] == pytest.approx(0.011)
    assert times[-1] == pytest.approx(0.110)


def test_a_line_served_late_keeps_its_rate() -> None:
    line = pipe(rate_mbit=8)
    for _ in range(100):
        line.offer(packet(1000), 0.0)
    arrived = [len(line.advance(0.007 * step)) for step in range(1, 15)]
    assert sum(arrived[:7]) == pytest.approx(49, abs=1)


def test_a_full_queue_drops_the_newest() -> None:
    line = pipe(rate_mbit=1, queue_bytes=3000)
    for number in range(10):
        line.offer(packet(number=number), 0.0)
    assert line.dropped == 7
    assert line.queue_bytes_high == 3000
    got = [number_of(data) for at in (0.01, 0.02, 0.03) for data in line.advance(at)]
    assert got == [0, 1, 2]


def test_losses_are_as_many_as_asked_and_the_same_for_the_same_seed() -> None:
    def lost(seed: int) -> list[int]:
        line = pipe(seed, loss=0.1)
        for number in range(2000):
            line.offer(packet(number=number), 0.0)
        return [number_of(data) for data in line.advance(0.0)]

    assert lost(1) == lost(1) != lost(2)
    assert 1740 <= len(lost(1)) <= 1860


def test_jitter_stays_within_its_bound_and_never_reorders() -> None:
    line = pipe(delay_ms=20, jitter_ms=10)
    for number in range(200):
        line.offer(packet(number=number), number * 0.001)
    seen: list[tuple[float, int]] = []
    while (now_s := line.next_s()) < 9:
        seen += [(now_s, number_of(data)) for data in line.advance(now_s)]
    assert [number for _, number in seen] == list(range(200))
    late_s = [at_s - number * 0.001 for at_s, number in seen]
    assert min(late_s) >= 0.010
    assert max(late_s) <= 0.030


def test_round_robin_lets_a_thin_flow_pass_a_thick_one() -> None:
    queue = Queue(Discipline.DRR, 100_000)
    for _ in range(50):
        queue.put(packet(flow=1))
    queue.put(packet(flow=2, number=9))
    assert 9 in [number_of(queue.take()) for _ in range(4)]


def test_round_robin_shares_evenly_whatever_the_sizes() -> None:
    queue = Queue(Discipline.DRR, 1_000_000)
    for _ in range(300):
        queue.put(packet(1500, flow=1))
        for _ in range(3):
            queue.put(packet(500, flow=2))
    served = dict.fromkeys((1, 2), 0)
    while sum(served.values()) < 300_000:
        data = queue.take()
        served[int.from_bytes(data[20:22])] += len(data)
    assert served[1] == pytest.approx(served[2], rel=0.05)


def test_a_full_round_robin_trims_the_longest_flow() -> None:
    queue = Queue(Discipline.DRR, 10_000)
    for _ in range(10):
        queue.put(packet(flow=1))
    queue.put(packet(flow=2, number=9))
    assert queue.dropped == 1
    assert 9 in [number_of(queue.take()) for _ in range(3)]


def test_priority_goes_by_the_mark_of_the_packet() -> None:
    queue = Queue(Discipline.PRIO, 100_000)
    for number, dscp in enumerate((CS1, 0, EF)):
        queue.put(packet(dscp=dscp, number=number))
    assert [number_of(queue.take()) for _ in range(3)] == [2, 1, 0]


def test_a_full_priority_queue_trims_the_least_band() -> None:
    queue = Queue(Discipline.PRIO, 2000)
    queue.put(packet(dscp=CS1))
    queue.put(packet(dscp=CS1))
    queue.put(packet(dscp=EF, number=7))
    queue.put(packet(dscp=CS1, number=8))
    assert queue.dropped == 2
    assert number_of(queue.take()) == 7


@pytest.mark.parametrize(
    "wrong",
    [{"loss": 1.5}, {"delay_ms": -1}, {"queue_bytes": 100}, {"jitter_ms": 2}, {"rate_mbit": -1}],
)
def test_a_shape_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        LinkShape(**wrong)  # type: ignore[arg-type]


def test_a_shape_survives_the_way_to_the_router() -> None:
    shape = LinkShape(20, 5, 0.01, 10, 9000, Discipline.DRR)
    assert LinkShape.from_json(shape.as_json()) == shape
