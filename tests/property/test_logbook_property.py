"""Pushes in any order, twice, with crashes and new attempts: the log is what was printed."""

from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from storage.engine.memory_tables import MemoryTables
from swarmnode.errors import LogStaleError
from swarmnode.limits import LOG_PAGE_BYTES
from swarmnode.market.logbook import LogBook
from swarmnode.tasks.ids import TaskId
from testnet.sim.seeded import run_seeded

TASK = TaskId("a" * 16)
pushes = st.lists(
    st.tuples(
        st.integers(1, 3),  # attempt
        st.integers(-5, 3 * LOG_PAGE_BYTES) | st.just(-1),  # from; -1 for where it goes on
        st.integers(0, 2 * LOG_PAGE_BYTES),  # bytes
        st.booleans(),  # crash before the next
    ),
    max_size=12,
)


@cache
def printed(fence: int) -> bytes:
    """All that an attempt prints."""
    return b"".join(b"%d:%06d\n" % (fence, line) for line in range(LOG_PAGE_BYTES))


@settings(max_examples=40, deadline=None)
@given(given_pushes=pushes)
def test_the_log_is_a_prefix_of_what_each_attempt_printed(
    given_pushes: list[tuple[int, int, int, bool]],
) -> None:
    async def main() -> None:
        tables = MemoryTables()
        book = LogBook(tables)
        have: dict[int, int] = {}
        newest = 0
        for fence, at, size, crashes in given_pushes:
            offset = have.get(fence, 0) if at == -1 else at
            body = printed(fence)[max(0, offset) : max(0, offset) + size]
            try:
                have[fence] = await book.take(TASK, fence, "stdout", offset, body)
                newest = fence
            except LogStaleError:
                assert fence < newest
            if crashes:
                tables.crash()
                book = LogBook(tables)
        expected = b"".join(printed(fence)[: have[fence]] for fence in sorted(have))
        pieces = [piece async for piece in book.read(TASK, "stdout", follow=lambda: False)]
        assert b"".join(pieces) == expected

    run_seeded(0, main)
