"""What every body of Tables promises."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio

from storage.engine.lmdb_tables import LmdbTables
from storage.engine.memory_tables import MemoryTables
from storage.engine.port import Tables, WriteView
from storage.limits import KEY_BYTES_MAX

BODIES: dict[str, Callable[[Path], Tables]] = {
    "lmdb": LmdbTables,
    "memory": lambda _: MemoryTables(),
}


@pytest.fixture(params=sorted(BODIES))
async def tables(
    request: pytest.FixtureRequest, tmp_path: Path, nursery: trio.Nursery
) -> AsyncIterator[Tables]:
    body = BODIES[request.param](tmp_path / "tables")
    await nursery.start(body.run)
    with trio.fail_after(30):
        yield body
    nursery.cancel_scope.cancel()


def putting(key: bytes, value: bytes, table: str = "t") -> Callable[[WriteView], None]:
    return lambda view: view.put(table, key, value)


async def test_a_write_is_seen_once_transact_returns(tables: Tables) -> None:
    await tables.transact(putting(b"k", b"v"))
    assert tables.get("t", b"k") == b"v"


async def test_a_table_nobody_wrote_to_is_empty(tables: Tables) -> None:
    assert tables.get("nothing", b"k") is None
    assert tables.scan("nothing") == []


async def test_the_result_of_apply_is_the_result_of_transact(tables: Tables) -> None:
    assert await tables.transact(lambda view: view.get("t", b"k") or b"none") == b"none"


async def test_a_write_is_not_seen_before_it_is_durable(tables: Tables) -> None:
    seen: list[bytes | None] = []

    def write(view: WriteView) -> None:
        view.put("t", b"k", b"v")
        seen.append(tables.get("t", b"k") if not isinstance(tables, MemoryTables) else None)
        seen.append(view.get("t", b"k"))

    await tables.transact(write)
    assert seen == [None, b"v"]


async def test_a_value_can_be_empty_and_is_not_a_missing_one(tables: Tables) -> None:
    await tables.transact(putting(b"k", b""))
    assert tables.get("t", b"k") == b""


async def test_keys_have_one_byte_to_the_bound(tables: Tables) -> None:
    longest = b"x" * KEY_BYTES_MAX
    await tables.transact(putting(longest, b"v"))
    assert tables.get("t", longest) == b"v"
    for bad in (b"", longest + b"x"):
        with pytest.raises(ValueError, match="key"):
            await tables.transact(putting(bad, b"v"))
        with pytest.raises(ValueError, match="key"):
            tables.get("t", bad)


async def test_tables_do_not_share_keys(tables: Tables) -> None:
    await tables.transact(putting(b"k", b"1", "one"))
    await tables.transact(putting(b"k", b"2", "two"))
    assert (tables.get("one", b"k"), tables.get("two", b"k")) == (b"1", b"2")


async def test_delete_tells_whether_there_was_something(tables: Tables) -> None:
    await tables.transact(putting(b"k", b"v"))
    assert await tables.transact(lambda view: view.delete("t", b"k"))
    assert not await tables.transact(lambda view: view.delete("t", b"k"))
    assert not await tables.transact(lambda view: view.delete("nothing", b"k"))
    assert tables.get("t", b"k") is None


async def test_scan_goes_in_key_order_within_a_prefix(tables: Tables) -> None:
    def write(view: WriteView) -> None:
        for key in (b"b2", b"a", b"b1", b"b", b"c", b"b\xff\xff"):
            view.put("t", key, key + b"!")

    await tables.transact(write)
    assert [key for key, _ in tables.scan("t")] == [b"a", b"b", b"b1", b"b2", b"b\xff\xff", b"c"]
    assert tables.scan("t", b"b1") == [(b"b1", b"b1!")]
    assert [key for key, _ in tables.scan("t", b"b")] == [b"b", b"b1", b"b2", b"b\xff\xff"]
    assert tables.scan("t", b"d") == []


async def test_scan_continues_after_a_key_that_need_not_exist(tables: Tables) -> None:
    def write(view: WriteView) -> None:
        for number in range(10):
            view.put("t", bytes([number]), b"")

    await tables.transact(write)
    assert [key[0] for key, _ in tables.scan("t", after=bytes([3]), limit=2)] == [4, 5]
    await tables.transact(lambda view: view.delete("t", bytes([3])))
    assert [key[0] for key, _ in tables.scan("t", after=bytes([3]), limit=2)] == [4, 5]
    assert tables.scan("t", after=bytes([9])) == []
    assert [key[0] for key, _ in tables.scan("t", bytes([5]), after=bytes([2]))] == [5]
    assert tables.scan("t", limit=0) == []


async def test_a_write_view_sees_its_own_writes(tables: Tables) -> None:
    await tables.transact(putting(b"a", b"old"))

    def write(view: WriteView) -> list[tuple[bytes, bytes]]:
        view.put("t", b"b", b"new")
        view.put("t", b"a", b"changed")
        view.put("other", b"x", b"y")
        view.delete("t", b"b")
        view.put("t", b"c", b"new")
        return view.scan("t") + view.scan("other")

    expected = [(b"a", b"changed"), (b"c", b"new"), (b"x", b"y")]
    assert await tables.transact(write) == expected


async def test_what_a_failed_apply_wrote_is_undone(tables: Tables) -> None:
    await tables.transact(putting(b"kept", b"1"))

    def fail(view: WriteView) -> None:
        view.put("t", b"kept", b"2")
        view.put("t", b"fresh", b"3")
        view.put("new table", b"k", b"4")
        view.delete("t", b"kept")
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        await tables.transact(fail)
    assert tables.scan("t") == [(b"kept", b"1")]
    assert tables.scan("new table") == []
    await tables.transact(putting(b"k", b"v", "another table"))
    await tables.transact(putting(b"k", b"w", "new table"))
    assert tables.scan("another table") == [(b"k", b"v")]
    assert tables.scan("new table") == [(b"k", b"w")]


async def test_a_failed_apply_does_not_touch_others_of_its_group(tables: Tables) -> None:
    failed: list[int] = []

    async def write(number: int) -> None:
        def apply(view: WriteView) -> None:
            view.put(f"table {number % 7}", bytes([number]), b"v")
            if number % 3 == 0:
                raise LookupError

        try:
            await tables.transact(apply)
        except LookupError:
            failed.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(60):
            nursery.start_soon(write, number)
    assert sorted(failed) == list(range(0, 60, 3))
    kept = {key[0] for at in range(7) for key, _ in tables.scan(f"table {at}")}
    assert kept == set(range(60)) - set(failed)


async def test_read_modify_write_loses_nothing_to_others(tables: Tables) -> None:
    def increase(view: WriteView) -> int:
        value = int(view.get("t", b"n") or b"0") + 1
        view.put("t", b"n", b"%d" % value)
        return value

    results: list[int] = []

    async def add() -> None:
        results.append(await tables.transact(increase))

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(add)
    assert sorted(results) == list(range(1, 51))
    assert tables.get("t", b"n") == b"50"


async def test_a_queued_write_is_committed_though_its_caller_is_cancelled(tables: Tables) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tables.transact, putting(b"k", b"v"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    await tables.transact(putting(b"later", b"v"))
    assert tables.get("t", b"k") == b"v"


async def test_a_caller_that_is_cancelled_already_writes_nothing(tables: Tables) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await tables.transact(putting(b"k", b"v"))
    await tables.transact(putting(b"later", b"v"))
    assert tables.get("t", b"k") is None


async def test_what_frees_space_is_seen_like_any_other_write(tables: Tables) -> None:
    await tables.transact(putting(b"k", b"v"))
    assert await tables.free(lambda view: view.delete("t", b"k"))
    assert tables.get("t", b"k") is None
    with pytest.raises(ZeroDivisionError):
        await tables.free(lambda view: 1 // 0)
