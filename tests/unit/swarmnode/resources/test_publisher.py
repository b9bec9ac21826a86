"""A machine speaks of itself regularly, and soon after it has changed much."""

import msgspec
import pytest
import trio

from p2p.gossip.items import RESOURCES
from p2p.wire.codec import decode_as
from swarmnode.errors import ConfigError
from swarmnode.resources.advert import ResourceAdvert
from swarmnode.resources.publisher import AdvertConfig, AdvertPublisher, is_news
from testnet.sim.seeded import simulated

IDLE = ResourceAdvert(
    lends=True,
    paused=False,
    cpu_millis=4000,
    cpu_free_millis=4000,
    memory_bytes=1000,
    memory_free_bytes=1000,
    disk_bytes=1000,
    disk_free_bytes=1000,
    tasks_free=4,
)


class Board:
    """Gossip as the publisher sees it."""

    def __init__(self) -> None:
        self.said: list[tuple[float, ResourceAdvert, float]] = []

    def publish(self, kind: int, body: bytes, *, ttl_s: float) -> None:
        assert kind == RESOURCES
        self.said.append((trio.current_time(), decode_as(ResourceAdvert, body, 1 << 16), ttl_s))


class Machine:
    def __init__(self, advert: ResourceAdvert | None) -> None:
        self.now = advert


async def watch(board: Board, machine: Machine, nursery: trio.Nursery) -> None:
    publisher = AdvertPublisher(AdvertConfig(), board, lambda: machine.now)
    await nursery.start(publisher.run)


@simulated
async def test_an_idle_machine_speaks_every_ten_seconds() -> None:
    board = Board()
    async with trio.open_nursery() as nursery:
        began_s = trio.current_time()
        await watch(board, Machine(IDLE), nursery)
        await trio.sleep(30.5)
        nursery.cancel_scope.cancel()
    assert [round(at_s - began_s) for at_s, _, _ in board.said] == [0, 10, 20, 30]
    assert {(advert, ttl_s) for _, advert, ttl_s in board.said} == {(IDLE, 35.0)}


@simulated
async def test_a_big_change_is_told_within_a_second_and_a_small_one_waits() -> None:
    board, machine = Board(), Machine(IDLE)
    async with trio.open_nursery() as nursery:
        await watch(board, machine, nursery)
        machine.now = msgspec.structs.replace(IDLE, memory_free_bytes=950)
        await trio.sleep(2.0)
        assert len(board.said) == 1
        machine.now = msgspec.structs.replace(IDLE, memory_free_bytes=500)
        await trio.sleep(1.1)
        nursery.cancel_scope.cancel()
    assert [advert.memory_free_bytes for _, advert, _ in board.said] == [1000, 500]


@simulated
async def test_nothing_is_said_before_the_machine_was_read() -> None:
    board, machine = Board(), Machine(None)
    async with trio.open_nursery() as nursery:
        await watch(board, machine, nursery)
        await trio.sleep(5.0)
        assert board.said == []
        machine.now = IDLE
        await trio.sleep(1.1)
        nursery.cancel_scope.cancel()
    assert len(board.said) == 1


@pytest.mark.parametrize(
    ("changes", "news"),
    [
        ({"cpu_free_millis": 3700}, False),
        ({"cpu_free_millis": 3500}, True),
        ({"paused": True}, True),
        ({"tasks_free": 3}, True),
        ({"environments": ("torch",)}, True),
    ],
)
def test_what_counts_as_news(changes: dict[str, object], news: bool) -> None:
    assert is_news(IDLE, msgspec.structs.replace(IDLE, **changes), 0.1) is news


def test_adverts_that_would_end_before_the_next_are_refused() -> None:
    with pytest.raises(ConfigError):
        AdvertConfig(every_s=40.0)
