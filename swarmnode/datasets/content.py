"""The bytes of one content: from memory, from this machine's disk, or from the pool."""

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
from swarmnode.datasets.chunks import ChunkFiles, ChunkId
from swarmnode.datasets.hot import HotChunks
from swarmnode.datasets.limits import DATA_WAIT_S
from swarmnode.errors import TreeRefusedError
from swarmnode.fuse.serve import ContentFailedError, Pieces
from swarmnode.packs.veil import veil_from

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
    kept: trio.Event = msgspec.field(default_factory=trio.Event)
    """It is on disk, too, if it ever will be."""
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


class Stretch(msgspec.Struct, frozen=True):
    """A content as it lies in the pool: an object, or a stretch of one."""

    cap: ReadCap
    size: int
    start: int = 0
    """Where it begins in the object."""
    veil: bytes = b""
    """Under which it lies there; empty: as it is."""


class ObjectContent:
    """One content as far as it is read here, by however many jobs.

    Its chunks are the segments of the object, as far as they are its own.
    """

    def __init__(self, parts: DataParts, stretch: Stretch, key: str) -> None:
        """`key`: under which its chunks are kept."""
        self._parts, self._stretch, self._key = parts, stretch, key
        self.cap, self.size = stretch.cap, stretch.size
        self._start, self._end = stretch.start, stretch.start + stretch.size
        self._ahead = ReadAhead(self._end)
        self._coming: dict[int, _Coming] = {}
        """By number of the chunk in the object."""
        self._fetching = trio.CapacityLimiter(FETCHES_MAX)
        self._exactly = trio.CapacityLimiter(EXACT_MAX)

    def ready(self, offset: int, size: int) -> Pieces | None:
        """What is in memory already."""
        number, begin = self._place(offset)
        data = self._in_memory(number)
        if data is None or begin + size > len(data):
            return None
        self._look_ahead(self._ahead.on_read(self._start + offset, size).ahead)
        return [memoryview(data)[begin : begin + size]]

    async def read(self, offset: int, size: int, say: Say) -> Pieces:
        """Exactly so many bytes, which there are. Raises ContentFailedError, having said why."""
        if not size:
            return []
        plan = self._ahead.on_read(self._start + offset, size)
        self._look_ahead(plan.ahead)
        is_exact = plan.is_exact or self._would_go_at_once()
        if is_exact and not self._is_here(self._place(offset)[0]):
            async with self._exactly:
                return [await patiently(partial(self._exact, offset, size), say)]
        return await self._by_chunks(offset, size, say, is_in_order=plan.is_in_order)

    async def stream(self, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes between, chunk by chunk. Raises what the pool raises: nothing waits."""
        end = min(end, self.size)
        while start < end:
            number, skipped = self._place(start)
            size = min(end - start, self._chunk_size(number) - skipped)
            plan = self._ahead.on_read(self._start + start, size)
            self._look_ahead(plan.ahead)
            if plan.is_exact and size * _SMALL_PART < CHUNK_BYTES and not self._is_here(number):
                yield await self._exact(start, size)
            else:
                data = await self._chunk(number)
                yield data if size == len(data) else data[skipped : skipped + size]
            start += size

    def whole(self) -> int | None:
        """A descriptor of a file of this machine with all of it, if there is one; to be closed."""
        disk = self._parts.disk
        return None if disk is None else disk.whole(self._key, self.size)

    def is_settling(self) -> bool:
        """What lacks of it on disk may be on its way there from memory."""
        disk = self._parts.disk
        coming = [number for number, one in self._coming.items() if one.data is not None]
        on_their_way = sum(map(self._chunk_size, coming))
        return disk is not None and 0 < self.size - disk.checked_bytes(self._key) <= on_their_way

    async def settle(self) -> None:
        """Return once that has come there."""
        for coming in list(self._coming.values()):
            if coming.data is not None:
                await coming.kept.wait()

    def hold(self) -> None:
        """Somebody reads that file by himself from here on."""
        if self._parts.disk is not None:
            self._parts.disk.hold(self._key)

    def release(self) -> None:
        """He does no more."""
        if self._parts.disk is not None:
            self._parts.disk.release(self._key)

    # -- inside

    def _place(self, offset: int) -> tuple[int, int]:
        """The chunk that a byte is in, and which one of it."""
        number = (self._start + offset) // CHUNK_BYTES
        return number, offset - self._begin(number)

    def _begin(self, number: int) -> int:
        """Where a chunk begins in the content."""
        return max(number * CHUNK_BYTES - self._start, 0)

    def _chunk_size(self, number: int) -> int:
        return min((number + 1) * CHUNK_BYTES - self._start, self.size) - self._begin(number)

    def _id(self, number: int) -> ChunkId:
        return self._key, self._begin(number)

    def _would_go_at_once(self) -> bool:
        """A chunk that comes is gone before it was read: too many are read, and none is kept."""
        disk = self._parts.disk
        return self._parts.hot.is_crowded and (disk is None or disk.is_full)

    def _in_memory(self, number: int) -> bytes | None:
        chunk, disk = self._id(number), self._parts.disk
        data = self._parts.hot.get(chunk)
        if data is not None and disk is not None:
            disk.touch(chunk)
        return data

    def _is_here(self, number: int) -> bool:
        chunk, disk = self._id(number), self._parts.disk
        return number in self._coming or chunk in self._parts.hot or bool(disk and disk.has(chunk))

    def _look_ahead(self, numbers: range) -> None:
        if all(number in self._coming or self._id(number) in self._parts.hot for number in numbers):
            return
        for number in numbers[: self._parts.hot.ahead_max]:
            if self._id(number) not in self._parts.hot:
                self._fetch_soon(number)

    async def _by_chunks(self, offset: int, size: int, say: Say, *, is_in_order: bool) -> Pieces:
        pieces: list[bytes | memoryview] = []
        end = offset + size
        while offset < end:
            number, begin = self._place(offset)
            count = min(end - offset, self._chunk_size(number) - begin)
            part: bytes | memoryview | None = None
            if not is_in_order or self._parts.hot.is_crowded:
                part = await self._part_on_disk(number, begin, count)
            if part is None:
                data = await patiently(partial(self._chunk, number), say)
                part = memoryview(data)[begin : begin + count]
            if len(part) != count:
                say("its bytes are fewer than they should be")
                raise ContentFailedError
            pieces.append(part)
            offset += count
        return pieces

    async def _part_on_disk(self, number: int, begin: int, count: int) -> bytes | None:
        """A little of a chunk that lies there and is not in memory."""
        chunk, disk = self._id(number), self._parts.disk
        is_little = count * _SMALL_PART < CHUNK_BYTES
        if disk is None or not is_little or number in self._coming or not disk.has(chunk):
            return None
        if chunk in self._parts.hot:
            return None
        return await self._parts.workers.run(partial(disk.read_part, chunk, begin, count))

    async def _exact(self, offset: int, size: int) -> bytes:
        await trio.lowlevel.checkpoint_if_cancelled()  # a node that stops has no source any more
        if offset >= self.size:
            raise ManifestError(f"nothing is there from {offset} on")
        start = self._start + offset
        pieces = self._parts.source.get(self.cap, start=start, length=size)
        data = b"".join([piece async for piece in pieces])
        if len(data) != size:
            raise ManifestError(f"{len(data)} bytes came of {size} from {start} on")
        if not self._stretch.veil:
            return data
        return await self._parts.workers.run(partial(self._unveiled, offset, data))

    def _unveiled(self, offset: int, data: bytes) -> bytes:
        return veil_from(self._stretch.veil, offset).update(data)

    async def _chunk(self, number: int) -> bytes:
        """One chunk in memory. Raises StorageError."""
        data = self._in_memory(number)
        if data is not None:
            await trio.lowlevel.checkpoint()
            return data
        coming = self._fetch_soon(number)
        await coming.done.wait()
        if coming.data is None:
            assert coming.failure is not None
            raise coming.failure
        return coming.data

    def _fetch_soon(self, number: int) -> _Coming:
        coming = self._coming.get(number)
        if coming is None:
            coming = self._coming[number] = _Coming()
            self._parts.nursery.start_soon(self._fetch, number, coming)
        return coming

    async def _fetch(self, number: int, coming: _Coming) -> None:
        """From disk or from the pool into memory, and then onto the disk."""
        chunk, parts = self._id(number), self._parts
        try:
            async with self._fetching:
                is_new = False
                data = await self._from_disk(chunk)
                if data is None:
                    data = await self._exact(self._begin(number), self._chunk_size(number))
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
            coming.kept.set()

    async def _from_disk(self, chunk: ChunkId) -> bytes | None:
        disk = self._parts.disk
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
