"""Tasks that answer calls are used again, and let go when nobody needs them."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from p2p.host.rpc.workers import RpcWorkers
from p2p.limits import WORKERS_IDLE_MAX, WORKERS_IDLE_S


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


async def test_one_job_after_the_other_takes_one_task() -> None:
    seen: list[tuple[trio.lowlevel.Task, int]] = []

    async def work(number: int) -> None:
        await trio.lowlevel.checkpoint()
        seen.append((trio.lowlevel.current_task(), number))

    workers = RpcWorkers(work)
    async with trio.open_nursery() as nursery:
        for number in range(10):
            workers.start(nursery, number)
            await wait_all_tasks_blocked()
        assert [number for _, number in seen] == list(range(10))
        assert len({task for task, _ in seen}) == 1
        nursery.cancel_scope.cancel()


async def test_a_job_never_waits_for_another() -> None:
    go, begun = trio.Event(), 0

    async def work() -> None:
        nonlocal begun
        begun += 1
        await go.wait()

    workers = RpcWorkers(work)
    async with trio.open_nursery() as nursery:
        for _ in range(3 * WORKERS_IDLE_MAX):
            workers.start(nursery)
        await wait_all_tasks_blocked()
        assert begun == 3 * WORKERS_IDLE_MAX
        go.set()
        await wait_all_tasks_blocked()
        assert len(workers._idle) == WORKERS_IDLE_MAX
        nursery.cancel_scope.cancel()


async def test_tasks_that_are_not_needed_are_let_go(autojump_clock: MockClock) -> None:
    async def work() -> None:
        await trio.lowlevel.checkpoint()

    workers = RpcWorkers(work)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(workers.run)
        await wait_all_tasks_blocked()
        before = tasks()
        for _ in range(2):
            for _ in range(20):
                workers.start(nursery)
            for _ in range(5):
                await trio.sleep(WORKERS_IDLE_S / 2)
                workers.start(nursery)
            assert tasks() <= before + 1
            await trio.sleep(3 * WORKERS_IDLE_S)
            assert tasks() == before
        nursery.cancel_scope.cancel()


async def test_a_job_that_was_given_up_leaves_a_task_that_works() -> None:
    done = 0

    async def work(scope: trio.CancelScope) -> None:
        nonlocal done
        with scope:
            await trio.lowlevel.checkpoint()
            done += 1

    workers = RpcWorkers(work)
    async with trio.open_nursery() as nursery:
        given_up = trio.CancelScope()
        given_up.cancel()
        workers.start(nursery, given_up)
        await wait_all_tasks_blocked()
        workers.start(nursery, trio.CancelScope())
        await wait_all_tasks_blocked()
        assert done == 1
        nursery.cancel_scope.cancel()


async def test_what_a_job_raises_is_a_bug_and_ends_the_nursery() -> None:
    async def work(number: int) -> None:
        await trio.lowlevel.checkpoint()
        if number:
            raise KeyError(number)

    workers = RpcWorkers(work)
    with pytest.RaisesGroup(KeyError):
        async with trio.open_nursery() as nursery:
            workers.start(nursery, 0)
            await wait_all_tasks_blocked()
            workers.start(nursery, 1)
