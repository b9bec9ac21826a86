"""Objects under random losses, breaking connections and restarts, on virtual time."""

import random
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import trio
from msgspec.structs import replace

from p2p.host.memory.network import LinkModel
from p2p.membership.view import Liveness
from storage.errors import ObjectDegradedError, TooFewPeersError
from storage.facade import PutReceipt, ReadCap
from storage.service import StorageService
from testnet.sim.seeded import run_seeded, simulated
from tests.storage_lab import CONFIG, KIB, StorageLab, storage_lab

SMALL = replace(CONFIG, segment_bytes=32 * KIB, small_object_bytes=2 * KIB, cache_bytes=0)


async def stream(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 9_999):
        yield data[at : at + 9_999]
        await trio.sleep(0.001)


async def read(service: StorageService, cap: ReadCap) -> bytes:
    return b"".join([part async for part in service.objects.get(cap)])


@pytest.mark.parametrize("seed", range(6))
@simulated
async def test_what_was_acknowledged_is_read_after_as_many_losses_as_promised(seed: int) -> None:
    """Machines die at random moments of the puts; then as many as every receipt allows for."""
    dice = random.Random(seed)
    count = dice.choice([5, 7, 9, 13])
    model = LinkModel(delay_s=0.005, jitter_s=0.005, break_rate=0.002, detect_s=2.0)
    async with storage_lab(count, config=SMALL, model=model, seed=seed) as lab:
        kept: list[tuple[PutReceipt, bytes]] = []
        victim = f"p{count - 1}"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dies_at, lab, victim, dice.uniform(0, 0.5))
            for _ in range(4):
                data = dice.randbytes(dice.randrange(200_000))
                with trio.fail_after(300):
                    with suppress(TooFewPeersError):  # said, not hidden
                        kept.append((await lab["p0"].objects.put(stream(data)), data))
        assert kept, f"seed={seed}"
        for receipt, data in kept:
            await survives_its_promise(lab, receipt, data, gone={victim})


async def dies_at(lab: StorageLab, name: str, after_s: float) -> None:
    await trio.sleep(after_s)
    lab.kill(name, is_known=False)
    await trio.sleep(5)
    lab.truth.set(name, Liveness.DEAD)


async def survives_its_promise(
    lab: StorageLab, receipt: PutReceipt, data: bytes, gone: set[str]
) -> None:
    """Kill what the words allow (the first victim included), read, and start them again."""
    words = receipt.survives.split()
    allowed = int(words[1]) if words[0] == "any" else 0
    holders = [str(peer) for peer in receipt.holders]
    lost = [name for name in holders if name in gone]
    more = [name for name in holders if name not in gone][: max(0, allowed - len(lost))]
    for name in more:
        lab.kill(name)
    reader = next(service for service in lab.up())
    with trio.fail_after(300):
        assert await read(reader, receipt.cap) == data
    for name in more:
        await lab.start(name)


@pytest.mark.parametrize("seed", range(4))
@simulated
async def test_puts_cancelled_at_any_moment_leave_no_byte(seed: int) -> None:
    dice = random.Random(seed)
    async with storage_lab(dice.choice([2, 5, 9]), config=SMALL, seed=seed) as lab:
        for _ in range(8):
            with trio.move_on_after(dice.uniform(0, 0.08)) as scope:
                await lab["p0"].objects.put(stream(dice.randbytes(150_000)))
            if not scope.cancelled_caught:
                for entry in lab["p0"].objects.entries():
                    assert await lab["p0"].objects.forget(entry.cap.address)
        await trio.sleep(60)
        assert sum(service.stats().used_bytes for service in lab.up()) == 0
        for keeper in lab.keepers.values():
            for table in ("leases", "lease_shards", "shard_leases", "manifests", "holders"):
                assert keeper.tables.scan(table) == [], f"seed={seed} {keeper.peer} {table}"


@pytest.mark.parametrize("seed", range(3))
@simulated
async def test_a_power_cut_of_the_whole_pool_loses_nothing_acknowledged(seed: int) -> None:
    dice = random.Random(seed)
    async with storage_lab(7, config=SMALL, seed=seed) as lab:
        kept: list[tuple[PutReceipt, bytes]] = []

        async def putting() -> None:
            while True:
                data = dice.randbytes(dice.randrange(80_000))
                kept.append((await lab["p0"].objects.put(stream(data)), data))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(putting)
            await trio.sleep(dice.uniform(0.3, 1.0))
            for name in lab.names():
                lab.kill(name)
            nursery.cancel_scope.cancel()
        for name in lab.names():
            await lab.start(name)
        assert kept
        entries = {entry.cap for entry in lab["p0"].objects.entries()}
        for receipt, data in kept:
            assert receipt.cap in entries
            assert await read(lab[f"p{dice.randrange(7)}"], receipt.cap) == data


@simulated
async def test_readers_wait_for_nobody_and_see_the_object_again_when_its_holders_are_back() -> None:
    data = random.Random(1).randbytes(200_000)
    async with storage_lab(7, config=SMALL) as lab:
        receipt = await lab["p0"].objects.put(stream(data))
        down = [name for name in lab.names() if name != "p0"][:5]
        for name in down:
            lab.kill(name)
        with trio.fail_after(60), pytest.raises(ObjectDegradedError):
            await read(lab["p0"], receipt.cap)
        for name in down:
            await lab.start(name)
        with trio.fail_after(60):
            assert await read(lab["p0"], receipt.cap) == data


@simulated
async def test_many_puts_and_gets_at_once_do_not_mix() -> None:
    async with storage_lab(9, config=SMALL) as lab:

        async def one(number: int) -> None:
            data = random.Random(number).randbytes(50_000 + number)
            receipt = await lab[f"p{number % 9}"].objects.put(stream(data))
            assert await read(lab[f"p{(number + 4) % 9}"], receipt.cap) == data

        with trio.fail_after(600):
            async with trio.open_nursery() as nursery:
                for number in range(30):
                    nursery.start_soon(one, number)


def test_one_seed_gives_one_run() -> None:
    async def run() -> list[tuple[str, bytes]]:
        async with storage_lab(7, config=SMALL, seed=3) as lab:
            receipts = [await lab["p0"].objects.put(stream(bytes(n * 999))) for n in range(5)]
            return [(",".join(r.holders), bytes(r.cap.address)) for r in receipts]

    assert run_seeded(5, run) == run_seeded(5, run)
