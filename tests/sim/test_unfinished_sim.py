"""A put that never ended: its bytes go soon, wherever they are; one that goes on keeps them."""

import random
from collections.abc import AsyncIterator

import trio
from msgspec.structs import replace

from storage.clocks.service import EVERY_S
from storage.holder.leases.keys import lease_of
from testnet.sim.seeded import simulated, until_slowly
from tests.repair_lab import CONFIG, used
from tests.storage_lab import KIB, StorageLab, storage_lab

SLOW = replace(CONFIG, down_after_s=900.0, hold_s=120.0, sweep_s=30.0)
DATA = random.Random(6).randbytes(100_000)


class Slowly:
    """A source that stops in the middle until the test says so."""

    def __init__(self) -> None:
        self.go_on = trio.Event()

    async def read(self) -> AsyncIterator[bytes]:
        yield DATA[: 64 * KIB]
        await self.go_on.wait()
        yield DATA[64 * KIB :]


async def begin(lab: StorageLab, source: Slowly) -> None:
    """p0 puts what never ends; returns once some of it is everywhere."""

    async def put() -> None:
        with trio.CancelScope() as scope:
            lab.keepers["p0"].clients.append(scope)
            await lab["p0"].objects.put(source.read(), name="slow")

    lab.nursery.start_soon(put)
    await until_slowly(lambda: all(k.shards.used_bytes() for k in lab.keepers.values()), 30)


@simulated
async def test_a_restarted_node_gives_up_what_it_was_putting() -> None:
    async with storage_lab(3, config=SLOW) as lab:
        await begin(lab, Slowly())
        lab.kill("p0")
        assert used(lab) > 0
        await lab.start("p0")
        await until_slowly(lambda: used(lab) == 0, 20)
        await until_slowly(lambda: not lab["p0"].objects.unfinished(), 60)


@simulated
async def test_a_holder_that_is_away_then_gives_it_up_when_it_returns() -> None:
    async with storage_lab(3, config=SLOW) as lab:
        await trio.sleep(3)  # the others are remembered by now
        await begin(lab, Slowly())
        lab.kill("p0")
        lab.kill("p2")
        await lab.start("p0")
        await until_slowly(lambda: used(lab) == lab.keepers["p2"].shards.used_bytes(), 20)
        assert [one.name for one in lab["p0"].objects.unfinished()] == ["cut off by a restart"]
        await lab.start("p2")
        await until_slowly(lambda: used(lab) == 0, 60)


@simulated
async def test_when_nobody_comes_back_holders_free_it_some_minutes_after_its_last_word() -> None:
    async with storage_lab(3, config=SLOW) as lab:
        await begin(lab, Slowly())
        lab.kill("p0")
        lab.keepers["p0"].shards.crash()
        others = [lab.keepers[name].shards for name in ("p1", "p2")]
        await trio.sleep(SLOW.hold_s - EVERY_S)
        assert all(shards.used_bytes() for shards in others)
        await trio.sleep(EVERY_S + 2 * SLOW.sweep_s + 5)
        assert not any(shards.used_bytes() for shards in others)


@simulated
async def test_a_put_that_pauses_for_long_keeps_what_it_has_put() -> None:
    async with storage_lab(3, config=SLOW) as lab:
        source = Slowly()
        done: list[bytes] = []

        async def put() -> None:
            receipt = await lab["p0"].objects.put(source.read(), name="slow")
            done.append(b"".join([part async for part in lab["p1"].objects.get(receipt.cap)]))

        lab.nursery.start_soon(put)
        await until_slowly(lambda: used(lab) > 0, 30)
        (shown,) = lab["p0"].objects.unfinished()
        assert shown.name == "slow"
        await trio.sleep(10 * SLOW.hold_s)
        source.go_on.set()
        await until_slowly(lambda: bool(done), 60)
        assert done == [DATA]
        assert not lab["p0"].objects.unfinished()


@simulated
async def test_a_word_of_a_put_that_comes_after_its_end_costs_nothing_at_the_next_start() -> None:
    async with storage_lab(3, config=SLOW) as lab:
        await trio.sleep(3)
        receipt = await lab["p0"].objects.put(one_piece(), name="kept")
        ((lease, _),) = lab["p0"].leases.all()
        note = lab["p0"].objects._put_list.note
        await note(lease_of(lease), receipt.size)  # it was queued before the end
        lab.kill("p0")
        await lab.start("p0")
        await trio.sleep(60)
        assert not lab["p0"].objects.unfinished()
        assert b"".join([part async for part in lab["p1"].objects.get(receipt.cap)]) == b"kept"


async def one_piece() -> AsyncIterator[bytes]:
    yield b"kept"
