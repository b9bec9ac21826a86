"""Tables in memory: crashes, full disks, virtual time."""

from collections.abc import Callable

import pytest
import trio

from storage.engine.memory_tables import MemoryTables
from storage.engine.port import WriteView
from storage.errors import StoreFailedError, StoreFullError
from testnet.sim.seeded import run_seeded, simulated


def put(key: bytes, value: bytes = b"v") -> Callable[[WriteView], None]:
    return lambda view: view.put("t", key, value)


@simulated
async def test_a_commit_takes_virtual_time_and_takes_those_who_wait_along() -> None:
    tables = MemoryTables(commit_s=2.0)
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(tables.transact, put(bytes([number])))
    assert trio.current_time() - began_s == pytest.approx(2.0)


@simulated
async def test_a_crash_keeps_only_what_was_committed() -> None:
    tables = MemoryTables(commit_s=1.0)
    await tables.transact(put(b"committed"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tables.transact, put(b"queued"))
        await trio.sleep(0.5)
        tables.crash()
        nursery.cancel_scope.cancel()  # the failure is not heard: the caller is gone as well
    await tables.transact(put(b"after the restart"))
    assert [key for key, _ in tables.scan("t")] == [b"after the restart", b"committed"]


def test_the_tables_survive_the_loop_they_were_used_in() -> None:
    tables = MemoryTables(commit_s=1.0)

    async def first() -> None:
        with trio.move_on_after(0.5):
            await tables.transact(put(b"cut off"))

    async def second() -> None:
        tables.crash()
        await tables.transact(put(b"later"))

    run_seeded(1, first)
    run_seeded(2, second)
    assert tables.scan("t") == [(b"later", b"v")]


@simulated
async def test_a_full_store_writes_nothing_and_still_deletes() -> None:
    tables = MemoryTables(capacity_bytes=100)
    await tables.transact(put(b"a", bytes(90)))
    with pytest.raises(StoreFullError):
        await tables.transact(put(b"b", bytes(90)))
    assert tables.get("t", b"b") is None
    await tables.transact(lambda view: view.delete("t", b"a"))
    await tables.transact(put(b"b", bytes(90)))


@simulated
async def test_on_a_disk_without_a_free_page_not_even_deletions_succeed() -> None:
    tables = MemoryTables()
    await tables.transact(put(b"a", b"1"))
    tables.is_full = True
    with pytest.raises(StoreFullError):
        await tables.transact(lambda view: view.delete("t", b"a"))
    assert tables.get("t", b"a") == b"1"
    tables.is_full = False
    assert await tables.transact(lambda view: view.delete("t", b"a"))


@simulated
async def test_steady_traffic_of_others_does_not_hold_up_a_caller() -> None:
    tables = MemoryTables()
    turns: list[str] = []

    async def write_often(name: str) -> None:
        for _ in range(20):
            await tables.transact(put(name.encode()))
            turns.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_often, "alice")
        nursery.start_soon(write_often, "bob")
    assert sorted(turns[:6]) == ["alice"] * 3 + ["bob"] * 3


@simulated
async def test_who_is_not_cancelled_hears_of_a_crash() -> None:
    tables = MemoryTables(commit_s=1.0)
    with pytest.RaisesGroup(StoreFailedError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tables.transact, put(b"queued"))
            await trio.sleep(0.5)
            tables.crash()
