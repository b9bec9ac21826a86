"""The one place where a bug under a job ends: what passes it, and what does not."""

import pytest
import trio

from storage.errors import RecordCorruptError, StoreFailedError
from swarmnode.contained import contained


async def test_what_nobody_foresaw_ends_there_also_in_a_group() -> None:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise OverflowError("too far")

    with contained("job a") as bound:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            await trio.sleep_forever()
    assert bound.has_faulted


async def test_work_that_ends_well_is_no_fault() -> None:
    with contained("job a") as bound:
        await trio.lowlevel.checkpoint()
    assert not bound.has_faulted


async def test_cancellation_goes_through() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        with contained("job a") as bound:
            await trio.sleep_forever()
        pytest.fail("it went on after its cancellation")
    assert scope.cancelled_caught
    assert not bound.has_faulted


async def test_a_group_that_holds_a_cancellation_goes_through() -> None:
    async def fail_late() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise IndexError("in the middle of the end")

    with pytest.RaisesGroup(IndexError, flatten_subgroups=True), trio.CancelScope() as scope:
        scope.cancel()
        with contained("job a"):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail_late)
                nursery.start_soon(trio.sleep_forever)
        pytest.fail("it went on after its cancellation")


@pytest.mark.parametrize(
    "fault",
    [
        StoreFailedError("a commit failed"),
        RecordCorruptError("objects", b"key"),
        ExceptionGroup("", [ValueError("x"), ExceptionGroup("", [StoreFailedError("y")])]),
    ],
)
def test_tables_of_which_nobody_knows_what_is_on_disk_are_the_nodes(fault: Exception) -> None:
    with pytest.raises((StoreFailedError, ExceptionGroup)), contained("job a"):
        raise fault
