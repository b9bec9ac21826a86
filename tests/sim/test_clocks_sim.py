"""A clock that is wrong frees nothing, is told of on both sides, and takes nothing new."""

import random
from collections.abc import AsyncIterator

import pytest
import trio
from msgspec.structs import replace

from storage.clocks.core import ClockStanding
from storage.clocks.service import EVERY_S
from storage.config import StorageClass
from storage.facade import PutReceipt, ReadCap
from storage.service import StorageService
from testnet.sim.seeded import simulated
from testnet.sim.world import World
from tests.repair_lab import CONFIG
from tests.storage_lab import StorageLab, storage_lab

DAY_S = 24 * 3600
SLOW = replace(CONFIG, down_after_s=900.0, sweep_s=600.0)
TWO_SWEEPS_S = 1300
"""Long enough to free what may be freed, as one of these shows."""
DATA = random.Random(4).randbytes(50_000)


async def chunks_of(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def put(service: StorageService, of_class: StorageClass = StorageClass.NORMAL) -> PutReceipt:
    with trio.fail_after(60):
        return await service.objects.put(chunks_of(DATA), storage_class=of_class)


async def got(service: StorageService, cap: ReadCap) -> bytes:
    with trio.fail_after(60):
        return b"".join([part async for part in service.objects.get(cap)])


def standing(lab: StorageLab, name: str) -> ClockStanding:
    return lab[name].clock.verdict.standing


def used(lab: StorageLab, name: str) -> int:
    return lab.keepers[name].shards.used_bytes()


@pytest.mark.parametrize("by_d", [40, -40])
@simulated
async def test_a_holder_whose_clock_is_wrong_frees_nobodys_bytes(by_d: int) -> None:
    async with storage_lab(3, config=SLOW) as lab:
        receipt = await put(lab["p0"])
        before = used(lab, "p2")
        lab.keepers["p2"].wall.step(by_d * DAY_S * 1000)
        await trio.sleep(TWO_SWEEPS_S)
        assert used(lab, "p2") == before
        assert await got(lab["p2"], receipt.cap) == DATA, "it goes on serving what it has"
        assert standing(lab, "p2") is ClockStanding.WRONG
        assert [peer for peer, _ in lab["p0"].clock.verdict.ahead_ms] == ["p2"]
        fresh = await put(lab["p0"])
        assert "p2" not in fresh.holders
        assert "p2" not in {c.peer for c in lab["p1"].parts.pool.usable()}
        lab.keepers["p2"].wall.step(-by_d * DAY_S * 1000)
        await trio.sleep(2 * EVERY_S)
        assert standing(lab, "p2") is ClockStanding.RIGHT
        assert "p2" in (await put(lab["p0"])).holders


@simulated
async def test_without_a_majority_both_go_on_and_free_nothing() -> None:
    async with storage_lab(2, config=SLOW) as lab:
        gone = await put(lab["p0"], StorageClass.SCRATCH)
        lab.keepers["p1"].wall.step(40 * DAY_S * 1000)
        await trio.sleep(TWO_SWEEPS_S)
        assert used(lab, "p1") > 0
        assert {lab[name].clock.verdict.standing for name in ("p0", "p1")} == {ClockStanding.UNSURE}
        assert (await put(lab["p0"])).n == 2
        assert (await put(lab["p1"])).n == 2
        assert await got(lab["p1"], gone.cap) == DATA


@simulated
async def test_time_that_passes_for_all_frees_what_has_ended() -> None:
    async with storage_lab(3, config=SLOW) as lab:
        await put(lab["p0"], StorageClass.SCRATCH)
        for keeper in lab.keepers.values():
            keeper.wall.step(40 * DAY_S * 1000)
        await trio.sleep(TWO_SWEEPS_S)
        assert not any(used(lab, name) for name in lab.names())


@simulated
async def test_a_clock_set_between_two_questions_frees_nothing_in_between() -> None:
    async with storage_lab(3, config=SLOW) as lab:
        await put(lab["p0"])
        await trio.sleep(EVERY_S)
        assert lab["p2"].clock.may_free()
        lab.keepers["p2"].wall.step(40 * DAY_S * 1000)
        assert not lab["p2"].clock.may_free()


@simulated
async def test_a_lone_machine_whose_clock_jumps_keeps_what_is_its_owners() -> None:
    async with storage_lab(1, config=SLOW) as lab:
        receipt = await put(lab["p0"])
        lab.keepers["p0"].wall.step(400 * DAY_S * 1000)
        await trio.sleep(TWO_SWEEPS_S)
        assert await got(lab["p0"], receipt.cap) == DATA


@simulated
async def test_what_a_machine_with_a_late_clock_puts_is_kept_as_long_as_anything() -> None:
    async with storage_lab(3, config=SLOW) as lab:
        lab.keepers["p0"].wall.step(-40 * DAY_S * 1000)
        await trio.sleep(EVERY_S + 1)
        receipt = await put(lab["p0"])
        assert len(receipt.holders) >= 2
        await trio.sleep(TWO_SWEEPS_S)
        assert await got(lab["p1"], receipt.cap) == DATA


@simulated
async def test_status_warns_on_both_sides() -> None:
    world = World(5, ["m0", "m1", "m2"])
    async with world.running():
        await trio.sleep(20)
        world["m2"].wall.step(40 * DAY_S * 1000)
        await trio.sleep(2 * EVERY_S)
        said = {name: " ".join(world[name].up.face.status().warnings) for name in world.machines}
        assert "the clock of this machine is 40 d ahead of most others'" in said["m2"]
        assert "m2 is 40 d ahead of ours" in said["m0"]
        assert "m2 is 40 d ahead of ours" in said["m1"]
