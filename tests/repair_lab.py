"""Objects of whole storage services: put, read, and looked at until they are mended."""

import random
from collections.abc import AsyncIterator

import trio
from msgspec.structs import replace

from storage.config import StorageConfig
from storage.facade import Durability, PutReceipt, ReadCap
from storage.records.holding import Holding
from storage.service import StorageService
from tests.storage_lab import KIB, StorageLab

CONFIG = StorageConfig(
    segment_bytes=32 * KIB,
    small_object_bytes=2 * KIB,
    advert_s=1.0,
    cache_bytes=0,
    down_after_s=2.0,
    call_timeout_s=2.0,
)
SLOW = replace(CONFIG, down_after_s=60.0)


def some_bytes(size: int, seed: int = 7) -> bytes:
    return random.Random(seed).randbytes(size)


async def chunks_of(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def put(
    service: StorageService, data: bytes, how: Durability = Durability.DURABLE
) -> PutReceipt:
    with trio.fail_after(60):
        return await service.objects.put(chunks_of(data), durability=how)


async def got(service: StorageService, cap: ReadCap) -> bytes:
    with trio.fail_after(60):
        return b"".join([part async for part in service.objects.get(cap)])


def newest_record(lab: StorageLab, receipt: PutReceipt) -> Holding:
    records = [s.holders.get(receipt.cap.address) for s in lab.up()]
    return max((r for r in records if r is not None), key=lambda r: (r.sequence, r.signer))


def is_whole(lab: StorageLab, receipt: PutReceipt) -> bool:
    """Every shard of the record is where the record says, on a machine that is up."""
    record = newest_record(lab, receipt)
    for row in record.rows:
        for peer in row:
            if peer is None or lab.keepers[peer].service is None:
                return False
        if len(set(row)) != len(row):
            return False
    return all(
        service.holders.get(receipt.cap.address) == record
        for service in lab.up()
        if service.parts.pool.me in record.peers()
    )


def repairs(lab: StorageLab) -> int:
    return sum(service.stats().repair.repairs_done for service in lab.up())


def used(lab: StorageLab) -> int:
    """Bytes kept on all disks, of machines that are down, too."""
    return sum(keeper.shards.used_bytes() for keeper in lab.keepers.values())
