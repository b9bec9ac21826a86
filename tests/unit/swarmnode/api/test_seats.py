"""Who keeps a place at the API when there are too many."""

from swarmnode.api.server.seats import Seat, Seats


class Room:
    def __init__(self, seats_max: int, per_source_max: int) -> None:
        self.seats = Seats(seats_max, per_source_max)
        self.ended: list[str] = []

    def take(self, name: str, source: str = "a", *, is_busy: bool = False) -> Seat | None:
        seat = self.seats.take(source, lambda: self.ended.append(name))
        if seat is not None and is_busy:
            seat.is_idle = False
        return seat


def test_a_newcomer_takes_the_place_of_whoever_was_idle_for_longest() -> None:
    room = Room(3, 3)
    first = room.take("first")
    room.take("second")
    room.take("third")
    assert first is not None
    room.seats.rests(first)  # it has just been answered
    assert room.take("fourth") is not None
    assert room.ended == ["second"]
    assert (len(room.seats), room.seats.dropped) == (3, 1)


def test_whoever_waits_for_an_answer_is_never_ended() -> None:
    room = Room(2, 2)
    room.take("first", is_busy=True)
    room.take("second", is_busy=True)
    assert not room.seats.has_room()
    assert room.take("third") is None
    assert (room.ended, room.seats.refused) == ([], 1)


def test_a_source_gives_way_to_itself_and_leaves_the_rest_to_others() -> None:
    room = Room(4, 2)
    for name in ("a1", "a2", "a3"):
        assert room.take(name, "a") is not None
    assert room.ended == ["a1"]
    room.take("b1", "b", is_busy=True)
    busy = [room.take(name, "b", is_busy=True) for name in ("b2", "b3")]
    assert [seat is None for seat in busy] == [False, True]
    assert room.ended == ["a1"]


def test_a_place_that_was_left_is_free() -> None:
    room = Room(1, 1)
    seat = room.take("first", is_busy=True)
    assert seat is not None
    assert not room.seats.has_room()
    room.seats.leave(seat)
    assert room.seats.has_room()
    room.take("second")
    room.seats.drop_idle()
    assert room.ended == ["second"]
    assert len(room.seats) == 0
