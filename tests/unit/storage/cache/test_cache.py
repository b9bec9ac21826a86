"""The cache of segments in memory."""

import pytest
import trio

from storage.cache.cache import ENTRY_BYTES, SegmentCache
from storage.facade import ReadCap
from storage.ids import Address, ObjectKey
from testnet.sim.seeded import simulated

CAP = ReadCap(Address(bytes(32)), ObjectKey(bytes(32)))
OTHER_KEY = ReadCap(Address(bytes(32)), ObjectKey(b"\1" * 32))


class FetchError(Exception):
    """Nothing came."""


def test_what_was_put_is_found_by_those_who_have_the_key() -> None:
    cache = SegmentCache(10_000)
    cache.put(CAP, 0, b"plain")
    assert cache.get(CAP, 0) == b"plain"
    assert cache.get(CAP, 1) is None
    assert cache.get(OTHER_KEY, 0) is None
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.entries) == (1, 2, 1)
    assert stats.bytes == 5 + ENTRY_BYTES


def test_a_segment_larger_than_the_cache_is_not_kept() -> None:
    cache = SegmentCache(1000)
    cache.put(CAP, 0, bytes(1001))
    assert cache.get(CAP, 0) is None
    assert cache.stats().bytes == 0


def test_a_cache_of_no_bytes_keeps_nothing() -> None:
    cache = SegmentCache(0)
    cache.put(CAP, 0, b"")
    assert cache.get(CAP, 0) is None


@simulated
async def test_many_readers_of_one_segment_cause_one_fetch() -> None:
    cache, fetches, read = SegmentCache(10_000), [], []

    async def fetch() -> bytes:
        fetches.append(trio.current_time())
        await trio.sleep(1)
        return b"plain"

    async def reader() -> None:
        read.append(await cache.load(CAP, 0, fetch))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(reader)
    assert read == [b"plain"] * 5
    assert len(fetches) == 1
    assert cache.stats().joined == 4


@simulated
async def test_a_reader_that_gives_up_or_fails_leaves_the_fetch_to_the_next() -> None:
    cache, begun = SegmentCache(10_000), trio.Event()

    async def fail() -> bytes:
        begun.set()
        await trio.sleep(1)
        raise FetchError

    async def fetch() -> bytes:
        await trio.sleep(1)
        return b"plain"

    async def failing() -> None:
        with pytest.raises(FetchError):
            await cache.load(CAP, 0, fail)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(failing)
        await begun.wait()
        with trio.move_on_after(0.5):
            await cache.load(CAP, 0, fetch)
        assert await cache.load(CAP, 0, fetch) == b"plain"
    cache.clear()
    assert cache.get(CAP, 0) is None
