"""A job's files keep to the rates of its shape, on virtual time, and are counted."""

from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from swarmnode.executor.port import JobId, JobView
from swarmnode.market.run.net import JobNet
from swarmnode.tasks.records import Usage
from swarmnode.tasks.spec import NetWant


async def file(chunks: int, size: int = 1000, every_s: float = 0.0) -> AsyncIterator[bytes]:
    for _ in range(chunks):
        await trio.sleep(every_s)
        yield bytes(size)


async def took_s(chunks: AsyncIterator[bytes]) -> float:
    began_s = trio.current_time()
    async for _ in chunks:
        pass
    return trio.current_time() - began_s


async def test_inputs_and_outputs_keep_to_their_rates(
    autojump_clock: trio.testing.MockClock,
) -> None:
    net = JobNet(NetWant(up_bytes_per_s=1000, down_bytes_per_s=10_000))
    assert await took_s(net.down(file(100))) == pytest.approx(10.0)
    assert await took_s(net.up(file(5))) == pytest.approx(5.0)
    usage = net.added_to(Usage(wall_ms=7), None)
    assert usage == Usage(wall_ms=7, down_bytes=100_000, up_bytes=5000)


async def test_what_its_own_connections_carried_is_used_as_well() -> None:
    view = JobView(JobId("t.1"), 1, 0, None, net_up_bytes=3, net_down_bytes=5)
    assert JobNet(NetWant()).added_to(Usage(), view) == Usage(up_bytes=3, down_bytes=5)


async def test_without_a_rate_nothing_is_held_up(autojump_clock: trio.testing.MockClock) -> None:
    net = JobNet(NetWant())
    assert await took_s(net.down(file(100))) == 0.0
    assert net.down_bytes == 100_000


async def test_a_slow_source_is_not_made_up_for_by_a_burst(
    autojump_clock: trio.testing.MockClock,
) -> None:
    net = JobNet(NetWant(down_bytes_per_s=10_000))
    assert await took_s(net.down(file(10, every_s=1.0))) <= 10.2
    assert await took_s(net.down(file(10))) >= 0.7
