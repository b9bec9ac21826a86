"""Frames are bound to the link only when it has room."""

import trio

from p2p.ids import TrafficClass
from p2p.qos.pump import Pump
from p2p.qos.scheduler import Scheduler


class FakeLink:
    """Takes `room` bytes until somebody makes more."""

    def __init__(self, room: int) -> None:
        self.left = room
        self.taken: list[tuple[TrafficClass, bytes]] = []


class FakeLane:
    def __init__(self, link: FakeLink, traffic_class: TrafficClass) -> None:
        self._link = link
        self._class = traffic_class
        self.is_finished = False

    def room(self) -> int:
        return self._link.left

    def write_some(self, data: memoryview) -> int:
        self._link.left -= len(data)
        self._link.taken.append((self._class, bytes(data)))
        return len(data)

    def finish(self) -> None:
        self.is_finished = True


async def test_what_the_link_has_no_room_for_can_still_be_overtaken() -> None:
    await trio.lowlevel.checkpoint()
    link = FakeLink(room=4)
    scheduler, progress = Scheduler(), []
    lanes = [FakeLane(link, traffic_class) for traffic_class in TrafficClass]
    pump = Pump(scheduler, lanes, lambda: progress.append(link.left))
    scheduler.put(TrafficClass.NORMAL, b"bulk-bulk")
    pump.run_once()
    assert link.taken == [(TrafficClass.NORMAL, b"bulk")]
    pump.run_once()
    scheduler.put(TrafficClass.CONTROL, b"now!")
    link.left = 8
    pump.run_once()
    assert link.taken[1:] == [(TrafficClass.CONTROL, b"now!"), (TrafficClass.NORMAL, b"-bul")]
    assert progress == [0, 0]


async def test_a_pump_called_from_its_own_lane_does_not_run_twice() -> None:
    await trio.lowlevel.checkpoint()
    link = FakeLink(room=100)
    scheduler = Scheduler()

    class Echo(FakeLane):
        def write_some(self, data: memoryview) -> int:
            pump.run_once()
            return super().write_some(data)

    lanes = [Echo(link, traffic_class) for traffic_class in TrafficClass]
    pump = Pump(scheduler, lanes, lambda: None)
    scheduler.put(TrafficClass.NORMAL, b"1")
    scheduler.put(TrafficClass.NORMAL, b"2")
    pump.run_once()
    assert [data for _, data in link.taken] == [b"1", b"2"]


async def test_a_class_that_moves_ends_its_frame_on_the_old_lane_first() -> None:
    await trio.lowlevel.checkpoint()
    old, new = FakeLink(room=4), FakeLink(room=100)
    scheduler = Scheduler()
    lanes = [FakeLane(old, traffic_class) for traffic_class in TrafficClass]
    pump = Pump(scheduler, lanes, lambda: None)
    scheduler.put(TrafficClass.NORMAL, b"one-two")
    scheduler.put(TrafficClass.NORMAL, b"three")
    pump.run_once()
    pump.move(TrafficClass.NORMAL, FakeLane(new, TrafficClass.NORMAL))
    assert not lanes[TrafficClass.NORMAL].is_finished
    old.left = 100
    pump.run_once()
    assert [data for _, data in old.taken] == [b"one-", b"two"]
    assert [data for _, data in new.taken] == [b"three"]
    assert [lane.is_finished for lane in lanes] == [False, False, True, False]
