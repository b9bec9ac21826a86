"""The bytes of one object: from memory, from this machine's disk, or from the pool."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Final, Protocol, TypeVar

import msgspec
import trio

from p2p.workers import Workers
from storage.errors import CapabilityError, ManifestError, StorageError
from storage.facade import ReadCap
from storage.ids import Address
from swarmnode.datasets.ahead import CHUNK_BYTES, ReadAhead
from swarmnode.datasets.chunks import ChunkFiles
from swarmnode.datasets.hot import HotChunks
from swarmnode.datasets.limits import DATA_WAIT_S
from swarmnode.errors import TreeRefusedError
from swarmnode.fuse.serve import ContentFailedError, Pieces

FETCHES_MAX: Final = 6
"""Chunks of one object under way at once: what is read ahead, and who jumps meanwhile."""
EXACT_MAX: Final = 64
"""Parts of chunks likewise, of a MiB at most: a task may have two thousand threads that read."""
_AGAIN_S, _AGAIN_MAX_S = 0.25, 5.0
_SAID_S: Final = 3.0
"""Whoever waits longer is told."""
_SMALL_PART: Final = 4
"""Less than this part of a chunk that lies on disk is read from there alone."""
ResultT = TypeVar("ResultT")
Say = Callable[[str], None]
"""Tells the owner of a job that its reads wait, or fail, and why."""


class DataSource(Protocol):
    """Of storage.facade.Objects what is needed here."""

    def get(
        self, cap: ReadCap, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]: ...

    async def size(self, address: Address) -> int: ...


class _Coming(msgspec.Struct):
    """A chunk on its way to memory."""

    done: trio.Event = msgspec.field(default_factory=trio.Event)
    data: bytes | None = None
    failure: StorageError | None = None


class DataParts(msgspec.Struct, frozen=True):
    """What all contents of a machine have in common."""

    source: DataSource
    workers: Workers
    hot: HotChunks
    disk: ChunkFiles | None
    """None: nothing is kept on disk."""
    nursery: trio.Nursery
    """Of fetches that nobody waits for any more: they are of use later."""


class ObjectContent:
    """One object as far as it is read here, by however many jobs."""

    def __init__(self, parts: DataParts, cap: ReadCap, key: str, size: int) -> None:
        """`key`: under which its chunks are kept."""
        self._parts, self._cap, self._key, self.size = parts, cap, key, size
        self._ahead = ReadAhead(size)
        self._coming: dict[int, _Coming] = {}
        """By number of the chunk."""
        self._fetching = trio.CapacityLimiter(FETCHES_MAX)
        self._exactly = trio.CapacityLimiter(EXACT_MAX)

    def ready(self, offset: int, size: int) -> Pieces | None:
        """What is in memory already."""
        number, start = divmod(offset, CHUNK_BYTES)
        data = self._in_memory(number)
        if data is None or start + size > CHUNK_BYTES:
            return None
        self._look_ahead(self._ahead.on_read(offset, size).ahead)
        return [memoryview(data)[start : start + size]]

    async def read(self, offset: int, size: int, say: Say) -> Pieces:
        """Exactly so many bytes, which there are. Raises ContentFailedError, having said why."""
        if not size:
            return []
        plan = self._ahead.on_read(offset, size)
        self._look_ahead(plan.ahead)
        if plan.is_exact and not self._is_here(offset // CHUNK_BYTES):
            async with self._exactly:
                return [await patiently(partial(self._exact, offset, size), say)]
        return await self._by_chunks(offset, size, say, is_in_order=plan.is_in_order)

    async def stream(self, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes between, chunk by chunk. Raises what the pool raises: nothing waits."""
        end = min(end, self.size)
        while start < end:
            number, skipped = divmod(start, CHUNK_BYTES)
            size = min(end - start, CHUNK_BYTES - skipped)
            plan = self._ahead.on_read(start, size)
            self._look_ahead(plan.ahead)
            if plan.is_exact and size * _SMALL_PART < CHUNK_BYTES and not self._is_here(number):
                yield await self._exact(start, size)
            else:
                data = await self._chunk(number)
                yield data if size == len(data) else data[skipped : skipped + size]
            start += size

    # -- inside

    def _in_memory(self, number: int) -> bytes | None:
        chunk, disk = (self._key, number), self._parts.disk
        data = self._parts.hot.get(chunk)
        if data is not None and disk is not None:
            disk.touch(chunk)
        return data

    def _is_here(self, number: int) -> bool:
        chunk = (self._key, number)
        disk = self._parts.disk
        return number in self._coming or chunk in self._parts.hot or bool(disk and disk.has(chunk))

    def _look_ahead(self, numbers: range) -> None:
        for number in numbers:
            if (self._key, number) not in self._parts.hot:
                self._start(number)

    async def _by_chunks(self, offset: int, size: int, say: Say, *, is_in_order: bool) -> Pieces:
        pieces: list[bytes | memoryview] = []
        end = offset + size
        while offset < end:
            number, start = divmod(offset, CHUNK_BYTES)
            count = min(end - offset, CHUNK_BYTES - start)
            part: bytes | memoryview | None = None
            if not is_in_order:
                part = await self._part_on_disk(number, start, count)
            if part is None:
                data = await patiently(partial(self._chunk, number), say)
                part = memoryview(data)[start : start + count]
            if len(part) != count:
                say("its bytes are fewer than they should be")
                raise ContentFailedError
            pieces.append(part)
            offset += count
        return pieces

    async def _part_on_disk(self, number: int, start: int, count: int) -> bytes | None:
        """A little of a chunk that lies there and is not in memory."""
        chunk, disk = (self._key, number), self._parts.disk
        is_little = count * _SMALL_PART < CHUNK_BYTES
        if disk is None or not is_little or number in self._coming or not disk.has(chunk):
            return None
        if chunk in self._parts.hot:
            return None
        return await self._parts.workers.run(partial(disk.read_part, chunk, start, count))

    async def _exact(self, offset: int, size: int) -> bytes:
        await trio.lowlevel.checkpoint_if_cancelled()  # a node that stops has no source any more
        if offset >= self.size:
            raise ManifestError(f"nothing is there from {offset} on")
        pieces = self._parts.source.get(self._cap, start=offset, length=size)
        data = b"".join([piece async for piece in pieces])
        if len(data) != size:
            raise ManifestError(f"{len(data)} bytes came of {size} from {offset} on")
        return data

    async def _chunk(self, number: int) -> bytes:
        """One chunk in memory. Raises StorageError."""
        data = self._in_memory(number)
        if data is not None:
            await trio.lowlevel.checkpoint()
            return data
        coming = self._start(number)
        await coming.done.wait()
        if coming.data is None:
            assert coming.failure is not None
            raise coming.failure
        return coming.data

    def _start(self, number: int) -> _Coming:
        coming = self._coming.get(number)
        if coming is None:
            coming = self._coming[number] = _Coming()
            self._parts.nursery.start_soon(self._fetch, number, coming)
        return coming

    async def _fetch(self, number: int, coming: _Coming) -> None:
        """From disk or from the pool into memory, and then onto the disk."""
        chunk, parts = (self._key, number), self._parts
        try:
            async with self._fetching:
                is_new = False
                data = await self._from_disk(number)
                if data is None:
                    start = number * CHUNK_BYTES
                    data = await self._exact(start, min(CHUNK_BYTES, self.size - start))
                    is_new = True
                parts.hot.put(chunk, data)
                coming.data = data
                coming.done.set()
                if is_new and parts.disk is not None:
                    await parts.workers.run(partial(parts.disk.write, chunk, data))
        except StorageError as failure:
            coming.failure = failure
        finally:
            del self._coming[number]
            if coming.data is None and coming.failure is None:
                coming.failure = StorageError("this node stops")
            coming.done.set()

    async def _from_disk(self, number: int) -> bytes | None:
        disk, chunk = self._parts.disk, (self._key, number)
        if disk is None or not disk.has(chunk):
            return None
        return await self._parts.workers.run(partial(disk.read, chunk))


async def patiently(get: Callable[[], Awaitable[ResultT]], say: Say) -> ResultT:
    """Try until the source can be reached. Raises ContentFailedError, having said why."""
    began_s, pause_s, was_said = trio.current_time(), _AGAIN_S, False
    why = "its source does not answer"
    while (left_s := began_s + DATA_WAIT_S - trio.current_time()) > 0:
        with trio.move_on_after(left_s):
            try:
                return await get()
            except (CapabilityError, ManifestError, TreeRefusedError) as error:
                say(f"cannot be read: {error}")
                raise ContentFailedError from error
            except StorageError as error:
                why = str(error)
            if not was_said and trio.current_time() - began_s > _SAID_S:
                say(f"waits for its source: {why}")
                was_said = True
            await trio.sleep(pause_s)
            pause_s = min(_AGAIN_MAX_S, 2 * pause_s)
    say(f"could not be read for {DATA_WAIT_S:.0f} s: {why}")
    raise ContentFailedError
