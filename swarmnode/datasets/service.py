"""Shows datasets to the jobs of this machine, and brings inputs by way of its disk."""

import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec
import trio

from p2p.workers import Workers
from storage.errors import StorageError
from storage.facade import Objects, ReadCap
from storage.manifests.capability import parse_cap
from swarmnode.datasets.chunks import ChunkFiles
from swarmnode.datasets.content import DataParts, ObjectContent, Say
from swarmnode.datasets.contents import Contents, Dataset, key_of, tag_of
from swarmnode.datasets.hot import HotChunks
from swarmnode.datasets.limits import DATA_HOT_BYTES_MAX, DATA_NOTES_MAX
from swarmnode.datasets.shown import ShownDatasets
from swarmnode.datasets.tree import Laid
from swarmnode.datasets.web import serve as web
from swarmnode.datasets.web.core import DataWeb, WebDataset
from swarmnode.datasets.wholes import Wholes
from swarmnode.errors import DataFailedError
from swarmnode.fuse.core import FuseCore
from swarmnode.fuse.inodes import ContentPlace
from swarmnode.fuse.opens import Opens
from swarmnode.fuse.passthrough import Notes, is_allowed
from swarmnode.fuse.serve import ContentFailedError, FuseMount, Pieces
from swarmnode.limits import REASON_CHARS_MAX
from swarmnode.packs.reading import read
from swarmnode.tasks.choices import DataWay
from swarmnode.tree.mount_points import DataMount

if TYPE_CHECKING:
    from swarmnode.executor.port import DataDevice, DataReaders, Executor, JobId

Want = tuple[str, str]
"""Where a task wants to see a dataset, absolute, and its capability."""


class DataDisk(msgspec.Struct, frozen=True):
    """Where datasets are kept on this machine."""

    folder: Path
    room: Callable[[], int]
    """How many bytes may be kept: the rest of what is lent for inputs."""
    lend: Callable[[Callable[[], int], Callable[[int], Awaitable[None]]], None]
    """Told how much is kept, and how to make it less, for who needs the same disk."""


class DatasetService:
    """One per node. Becomes who answers for datasets: build it before the executor runs."""

    def __init__(
        self,
        executor: "Executor",
        objects: Objects,
        workers: Workers,
        disk: DataDisk | None,
    ) -> None:
        self._executor, self._objects, self._workers = executor, objects, workers
        self._chunks: ChunkFiles | None = None
        self._wholes: Wholes | None = None
        """Both None where nothing is kept on disk. They share its room."""
        if disk is not None:
            self._keep_on(disk)
        self._contents: Contents | None = None
        self._shown: ShownDatasets | None = None
        """Both None before `run`."""
        self._passes = is_allowed()
        """The kernel may be handed files of this machine."""
        self._runs = trio.Event()
        executor.on_data(self._serve)

    def _keep_on(self, disk: DataDisk) -> None:
        chunks = self._chunks = ChunkFiles(
            disk.folder / "chunks", lambda: disk.room() - wholes.taken_bytes
        )
        wholes = self._wholes = Wholes(
            disk.folder / "whole", lambda: disk.room() - chunks.taken_bytes, self._workers
        )
        disk.lend(lambda: self.kept_bytes, self._shrink)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Fetch what is wanted until cancelled."""
        if self._chunks is not None:
            await self._workers.run(self._chunks.look)
        if self._wholes is not None:
            await self._workers.run(self._wholes.look)
        async with trio.open_nursery() as nursery:
            hot = HotChunks(DATA_HOT_BYTES_MAX)
            parts = DataParts(self._objects, self._workers, hot, self._chunks, nursery)
            self._contents = Contents(parts)
            self._shown = ShownDatasets(self._contents)
            self._runs.set()
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._contents = self._shown = None

    @property
    def kept_bytes(self) -> int:
        """On this machine's disk."""
        chunks = self._chunks.taken_bytes if self._chunks else 0
        return chunks + (self._wholes.kept_bytes if self._wholes else 0)

    async def _shrink(self, bytes_max: int) -> None:
        """Others need the room."""
        if self._chunks is not None and self._wholes is not None:
            chunks_max = bytes_max - self._wholes.taken_bytes
            await self._workers.run(partial(self._chunks.shrink, chunks_max))
            in_use = self._executor.sources_in_use()
            await self._wholes.shrink(bytes_max - self._chunks.taken_bytes, in_use)

    async def get(
        self, cap: ReadCap, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """As Objects.get, not fetched again what is here. Raises StorageError."""
        if self._chunks is None:
            pieces = self._objects.get(cap, start=start, length=length)
        else:
            await self._runs.wait()
            assert self._contents is not None
            pieces = self._contents.get(cap, start=start, length=length)
        async for piece in pieces:
            yield piece

    def stream(self, cap: ReadCap) -> AsyncIterator[bytes]:
        """What it means, all of it: a folder as a tree. Raises StorageError, TreeRefusedError."""
        return read(cast("Objects", self), cap)  # it asks for nothing but `get`

    async def let_go(self, cap: ReadCap) -> None:
        """What was streamed has a place of its own now: what is kept of it here takes room only."""
        if self._chunks is not None:
            await self._workers.run(partial(self._chunks.drop, key_of(cap)))

    async def mounts(self, job: "JobId", wants: Sequence[Want]) -> tuple["DataMount", ...]:
        """What the executor is to show, all of it fetched where it must be.

        Raises DataFailedError, with the reason.
        """
        way, _ = self._executor.data_way()
        shown, datasets = [], []
        for target, text in wants:
            why: list[str] = []
            try:
                dataset = await self._laid(parse_cap(text), why.append)
                source = ""
                if way is DataWay.WHOLE and self._wholes is not None:
                    source = await self._whole(parse_cap(text), dataset.laid)
            except (ContentFailedError, StorageError) as error:
                told = "; ".join(why) or str(error)
                raise DataFailedError(f"data at {target}: {told}") from error
            shown.append(DataMount(target, text, dataset.laid.is_folder, source))
            if not source:
                datasets.append(dataset)
        if self._shown is not None:
            self._shown.promise(job, tuple(datasets))
        return tuple(shown)

    async def _whole(self, cap: ReadCap, laid: Laid) -> str:
        """The path of all of it."""
        assert self._wholes is not None
        in_use = self._executor.sources_in_use()
        return await self._wholes.path(key_of(cap), laid, partial(self.stream, cap), in_use)

    async def _laid(self, cap: ReadCap, say: Say) -> Dataset:
        await self._runs.wait()
        assert self._shown is not None
        return await self._shown.laid(cap, say)

    async def _serve(self, job: "JobId", readers: "DataReaders") -> None:
        """See swarmnode.executor.port.DataServer."""
        voice = _Voice(partial(self._executor.note, job))
        failed: list[OSError] = []
        async with trio.open_nursery() as beside:
            if readers.web >= 0:
                beside.start_soon(self._answer_web, job, readers, voice)
            async with trio.open_nursery() as nursery:
                for device, mount in zip(readers.devices, readers.mounts, strict=True):
                    say = partial(voice.say, mount.target)
                    answer = partial(
                        self._answer, device, mount.cap, say, is_taken_over=readers.is_taken_over
                    )
                    nursery.start_soon(_noting, answer, failed, nursery.cancel_scope)
            beside.cancel_scope.cancel()
        if self._shown is not None:
            self._shown.forget(job)
        if failed:
            raise failed[0]

    async def _answer(
        self, device: "DataDevice", cap: str, say: Say, *, is_taken_over: bool
    ) -> None:
        try:
            dataset = await self._laid(parse_cap(cap), say)
        except ContentFailedError as error:
            raise OSError(errno.EIO, "a dataset cannot be read") from error
        notes = Notes(device.notes)
        passed = notes.read() if is_taken_over else None
        is_opened = dataset.laid.is_opened and self._passes
        core = FuseCore(dataset.laid.inodes, dataset.laid.size, Opens(passed, is_wanted=is_opened))
        content = _JobContent(dataset, say)
        try:
            await FuseMount(device.fd, core, content, notes).run(is_taken_over=is_taken_over)
        finally:
            content.release()

    async def _answer_web(self, job: "JobId", readers: "DataReaders", voice: "_Voice") -> None:
        """By HTTP, once it is known what there is to see."""
        with socket.socket(fileno=readers.web) as listener:
            shown, contents = [], []
            for mount in readers.mounts:
                say = partial(voice.say, mount.target)
                try:
                    dataset = await self._laid(parse_cap(mount.cap), say)
                except ContentFailedError:
                    return  # who opens it as a file is told so
                tag = tag_of(parse_cap(mount.cap))
                shown.append(WebDataset(mount.target, dataset.laid.inodes, tag))
                contents.append(_JobContent(dataset, say))
            await web.run(listener, DataWeb(shown), contents, job)


async def _noting(
    answer: Callable[[], Awaitable[None]], failed: list[OSError], scope: trio.CancelScope
) -> None:
    """Where one cannot be answered, none is: whoever holds the devices lets go of all."""
    try:
        await answer()
    except OSError as error:
        failed.append(error)
        scope.cancel()


class _Voice:
    """What a job is told of its datasets: each thing once, and not too much."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._said: set[str] = set()

    def say(self, target: str, words: str) -> None:
        """In its stderr."""
        line = f"swarm: data at {target}: {words}"
        if line not in self._said and len(self._said) < DATA_NOTES_MAX:
            self._said.add(line)
            self._note(line[:REASON_CHARS_MAX])


class _JobContent:
    """The bytes of one dataset as its mount asks for them: satisfies fuse.serve.Content."""

    def __init__(self, dataset: Dataset, say: Say) -> None:
        self._dataset, self._say = dataset, say
        self._held: list[ObjectContent] = []
        """Read without us."""

    def ready(self, place: ContentPlace, size: int) -> Pieces | None:
        return self._dataset.ready(place, size)

    async def read(self, place: ContentPlace, size: int) -> Pieces:
        return await self._dataset.read(place, size, self._say)

    def whole(self, place: ContentPlace) -> int | None:
        return self._dataset.content(place).whole() if place.is_all else None

    def is_settling(self, place: ContentPlace) -> bool:
        return place.is_all and self._dataset.content(place).is_settling()

    async def settle(self, place: ContentPlace) -> None:
        await self._dataset.content(place).settle()

    def passed(self, place: ContentPlace) -> None:
        content = self._dataset.content(place)
        content.hold()
        self._held.append(content)

    def release(self) -> None:
        """There is no mount any more."""
        for content in self._held:
            content.release()
