"""One get: verified plaintext in order, a few segments ahead of the reader.

Whole segments come from any k of their shards and through the cache. A small range of a segment
that is not cached touches only the 16 KiB leaves it lies in.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Protocol

import msgspec
import trio

from storage.coding.cipher import unseal, unseal_part
from storage.coding.erasure import Code
from storage.errors import CapabilityError, HolderFailedError, ObjectDegradedError, StorageError
from storage.facade import ReadCap
from storage.limits import LEAF_BYTES, LEAVES_PER_RANGE_MAX, PAGE_SEGMENTS
from storage.manifests.manifest import Manifest, SegmentRef
from storage.transfer.fetch import SegmentSources
from storage.transfer.parts import StorageParts

SMALL_RANGE_PART = 4
"""A range of less than this part of a segment is read by its leaves."""


class SegmentReads(Protocol):
    """Plaintext segments kept for the next reader (storage.cache.cache)."""

    def get(self, cap: ReadCap, index: int) -> bytes | None: ...

    async def load(
        self, cap: ReadCap, index: int, fetch: Callable[[], Awaitable[bytes]]
    ) -> bytes: ...


class _ComingSegment(msgspec.Struct):
    """A segment on its way."""

    scope: trio.CancelScope = msgspec.field(default_factory=trio.CancelScope)
    done: trio.Event = msgspec.field(default_factory=trio.Event)
    plain: bytes = b""
    failure: StorageError | None = None


class ObjectReader:
    """Reads objects by capability."""

    def __init__(self, parts: StorageParts, cache: SegmentReads) -> None:
        self._parts = parts
        self._cache = cache

    async def read(
        self, nursery: trio.Nursery, cap: ReadCap, start: int, length: int | None
    ) -> AsyncIterator[bytes]:
        """The bytes from `start` on, at most `length` (to the end when None), in order.

        Raises ObjectUnknownError, ObjectDegradedError, CapabilityError (wrong key), ValueError.
        """
        if start < 0 or (length is not None and length < 0):
            raise ValueError(f"a range of {length} bytes from {start}")
        manifest = await self._parts.catalog.manifest(cap.address)
        end = manifest.size if length is None else min(manifest.size, start + length)
        if start >= end:
            return
        first, last = start // manifest.segment_bytes, (end - 1) // manifest.segment_bytes
        pending: dict[int, _ComingSegment] = {}
        try:
            for index in range(first, last + 1):
                ahead = min(last, index + self._parts.config.look_ahead)
                for number in range(index, ahead + 1):
                    if number not in pending:
                        task = pending[number] = _ComingSegment()
                        offset = number * manifest.segment_bytes
                        piece = (
                            max(start, offset) - offset,
                            min(end - offset, manifest.segment_bytes),
                        )
                        nursery.start_soon(self._fill, task, cap, manifest, number, piece)
                task = pending[index]
                await task.done.wait()
                del pending[index]
                if task.failure is not None:
                    raise task.failure
                yield task.plain
                del task
        finally:
            for task in pending.values():
                task.scope.cancel()

    async def segment(self, cap: ReadCap, manifest: Manifest, index: int) -> bytes:
        """The plaintext of one whole segment, from the cache or from its holders."""
        fetch = partial(self._fetch, cap, manifest, index)
        return await self._cache.load(cap, index, fetch)

    # -- inside

    async def _fetch(self, cap: ReadCap, manifest: Manifest, index: int) -> bytes:
        ref, sources = await self._sources(cap, manifest, index)
        try:
            shards = await self._parts.fetcher.fetch(sources)
        except ObjectDegradedError:
            await self._parts.catalog.refuse_removed(cap.address)
            ref, sources = await self._sources(cap, manifest, index, is_fresh=True)
            shards = await self._parts.fetcher.fetch(sources)
        run = self._parts.workers.run
        try:
            return await run(lambda: _opened(manifest, cap, index, ref, shards))
        except CapabilityError:
            if all(number < manifest.n for number in shards):
                raise
        # Somebody signed wrong roots for shards that were added: those of the manifest decide.
        named = await self._parts.fetcher.fetch(sources.first(manifest.n))
        return await run(lambda: _opened(manifest, cap, index, ref, named))

    async def _fill(
        self,
        task: _ComingSegment,
        cap: ReadCap,
        manifest: Manifest,
        index: int,
        piece: tuple[int, int],
    ) -> None:
        with task.scope:
            try:
                task.plain = await self._piece(cap, manifest, index, *piece)
            except StorageError as failure:
                task.failure = failure
        task.done.set()

    async def _piece(
        self, cap: ReadCap, manifest: Manifest, index: int, start: int, stop: int
    ) -> bytes:
        """Bytes start:stop of a segment."""
        whole = manifest.plain_length(index)
        is_small = (stop - start) * SMALL_RANGE_PART < whole and whole > LEAF_BYTES
        if is_small and self._cache.get(cap, index) is None:
            part = await self._part(cap, manifest, index, start, stop)
            if part is not None:
                return part
        plain = await self.segment(cap, manifest, index)
        return plain if (start, stop) == (0, len(plain)) else plain[start:stop]

    async def _part(
        self, cap: ReadCap, manifest: Manifest, index: int, start: int, stop: int
    ) -> bytes | None:
        """The same from the leaves alone; None when a holder of one of them fails us."""
        _, sources = await self._sources(cap, manifest, index)
        sealed, at = [], start
        while at < stop:
            shard, offset = divmod(at, sources.shard_bytes)
            count = min(stop - at, sources.shard_bytes - offset)
            piece = await self._leaves(sources, shard, offset, count)
            if piece is None:
                return None
            sealed.append(piece)
            at += count
        return unseal_part(manifest.cipher, cap.key, index, start, b"".join(sealed))

    async def _leaves(
        self, sources: SegmentSources, shard: int, offset: int, count: int
    ) -> bytes | None:
        first = offset // LEAF_BYTES
        leaves = (offset + count - 1) // LEAF_BYTES - first + 1
        choices = sources.holders if sources.k == 1 else sources.holders[shard : shard + 1]
        pool = self._parts.pool
        living = [peer for peer in choices if peer is not None and pool.is_alive(peer)]
        if leaves > LEAVES_PER_RANGE_MAX:
            return None
        for peer in sorted(living, key=lambda peer: peer != pool.me)[:2]:
            try:
                data = await self._parts.transfer.get_leaves(
                    peer, sources.roots[shard], sources.shard_bytes, first, leaves
                )
            except HolderFailedError:
                continue
            skipped = offset - first * LEAF_BYTES
            return data[skipped : skipped + count]
        return None

    async def _sources(
        self, cap: ReadCap, manifest: Manifest, index: int, *, is_fresh: bool = False
    ) -> tuple[SegmentRef, SegmentSources]:
        page, at = divmod(index, PAGE_SEGMENTS)
        catalog = self._parts.catalog
        holding = await catalog.holding(cap.address, manifest, page, is_fresh=is_fresh)
        place = (await catalog.placed(cap.address, manifest, page, holding))[at]
        ref, code = place.ref, Code(manifest.k, manifest.n)
        sources = SegmentSources(manifest.k, code.shard_bytes(ref.length), place.roots, place.row)
        return ref, sources


def _opened(
    manifest: Manifest, cap: ReadCap, index: int, ref: SegmentRef, shards: dict[int, bytes]
) -> bytes:
    width = max([manifest.n, *(number + 1 for number in shards)])
    sealed = Code(manifest.k, width).decode(shards, ref.length)
    return unseal(manifest.cipher, cap.key, index, sealed)
