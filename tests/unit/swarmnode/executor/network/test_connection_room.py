"""The connections of all tasks of a node: who came first leaves others their part."""

from contextlib import ExitStack

from swarmnode.executor.network.limits import CONNECTIONS_MAX
from swarmnode.executor.network.room import ConnectionPart, ConnectionRoom


def hold(stack: ExitStack, part: ConnectionPart, count: int) -> int:
    """How many of so many were to be had."""
    return sum(stack.enter_context(part.one()) for _ in range(count))


def test_one_task_alone_takes_all_there_is_and_no_more_than_a_task_may() -> None:
    with ExitStack() as stack:
        part = stack.enter_context(ConnectionRoom(10).part())
        assert hold(stack, part, 20) == 10
        one = stack.enter_context(ConnectionRoom(10**6).part())
        assert hold(stack, one, CONNECTIONS_MAX + 5) == CONNECTIONS_MAX


def test_who_comes_later_has_its_part_all_the_same() -> None:
    with ExitStack() as stack:
        room = ConnectionRoom(10)
        first = stack.enter_context(room.part())
        assert hold(stack, first, 20) == 10
        second = stack.enter_context(room.part())
        assert hold(stack, second, 20) == 5
        assert hold(stack, first, 1) == 0


def test_what_ends_is_room_for_others() -> None:
    with ExitStack() as stack:
        room = ConnectionRoom(4)
        with ExitStack() as ends, room.part() as first:
            assert hold(ends, first, 9) == 4
        second = stack.enter_context(room.part())
        assert hold(stack, second, 9) == 4
