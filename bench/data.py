"""How fast a task reads datasets: real sandboxes, real mounts, a source of 2 ms and 300 MB/s.

The source makes its bytes up and holds them back as a line of that rate and latency would; each
range comes with its BLAKE3, which is checked, as what the pool gives is. All else is the node's:
datasets on this machine's disk, answered through /dev/fuse to programs in sandboxes.

data_epoch1_vs_source
    Bytes per second of a program that reads 1 GiB in order, in pieces of 1 MiB, none of it here,
    against the 300 MB/s of the source.
data_epoch2_vs_local
    The same program opens and reads it again, against one that does so with a file of this
    machine's disk: both have in memory what the kernel keeps of a first pass. Opening it, which
    drops the pages of the first pass (some 60 ms per GiB, once), is not counted.
data_next_job_vs_local
    Another job reads it, against a file of this machine's disk; nothing is in memory of either.
first_batch_s
    From the order to start until a program has read 64 pieces of 256 KiB from anywhere in 20 GB.
ls_10000_s
    `ls -l` of a folder with 10,000 files, in the sandbox, of which nothing was asked before.
"""

import os
import statistics
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio
from blake3 import blake3

from p2p.workers import ThreadWorkers
from storage.errors import ManifestError
from storage.facade import ReadCap
from storage.ids import Address, ObjectKey
from storage.manifests.capability import text_of_cap
from swarmnode.datasets.ahead import CHUNK_BYTES
from swarmnode.datasets.service import DataDisk, DatasetService
from swarmnode.executor.port import DataMount, DataWay, JobId, JobSpec
from swarmnode.executor.process import ProcessExecutor
from swarmnode.executor.sandbox.capability import ExecutorConfig
from swarmnode.tree.format import EntryKind, TreeEntry, write_index

MIB: Final = 1 << 20
LATENCY_S: Final = 0.002
RATE: Final = 300e6
"""Bytes per second."""
READ_BYTES: Final = 1 << 30
LARGE_BYTES: Final = 20 * 10**9
FILES: Final = 10_000
_BLOCKS: Final = 8
_PYTHON: Final = "/usr/bin/python3"
_TWICE: Final = """
import os, sys, time
piece = bytearray(1 << 20)
for _ in range(int(sys.argv[2])):
    fd, began, count = os.open(sys.argv[1], os.O_RDONLY), time.perf_counter(), 0
    while got := os.readv(fd, [piece]): count += got
    print(count / (time.perf_counter() - began), flush=True)
    os.close(fd)
"""
_BATCH: Final = """
import os, random, sys
fd, dice = os.open(sys.argv[1], os.O_RDONLY), random.Random(1)
size = os.fstat(fd).st_size
print(sum(len(os.pread(fd, 1 << 18, dice.randrange(size - (1 << 18)))) for _ in range(64)))
"""
_LIST: Final = """
import subprocess, sys, time
began = time.perf_counter()
lines = subprocess.run(["ls", "-l", sys.argv[1]], capture_output=True).stdout.count(b"\\n")
print(time.perf_counter() - began, lines)
"""


class _MadeUp:
    """Objects of any length at the far end of one line."""

    def __init__(self) -> None:
        blocks = [os.urandom(CHUNK_BYTES) for _ in range(_BLOCKS)]
        self._digests = [blake3(block).digest() for block in blocks]
        self._made = b"".join(blocks)
        self._sizes: dict[Address, int] = {}
        self._begins: dict[Address, bytes] = {}
        """What an object begins with: the index of a folder, or nothing."""
        self._free_s = 0.0
        """When the line has carried all that was asked for."""

    def add(self, size: int, begin: bytes = b"") -> str:
        """The capability of a new object."""
        cap = ReadCap(Address(os.urandom(32)), ObjectKey(os.urandom(32)))
        self._sizes[cap.address], self._begins[cap.address] = size, begin
        return text_of_cap(cap)

    async def size(self, address: Address) -> int:
        await trio.sleep(LATENCY_S)
        return self._sizes[address]

    async def get(
        self, cap: ReadCap, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        left = self._sizes[cap.address] - start
        length = left if length is None else min(length, left)
        data = self._bytes(cap.address, start, length)
        digest = self._digest(cap.address, start, data)
        now_s = trio.current_time()
        self._free_s = max(self._free_s, now_s) + length / RATE
        await trio.sleep_until(self._free_s + LATENCY_S)
        if blake3(data).digest() != digest:
            raise ManifestError("the bytes are not the ones asked for")
        yield data

    def _bytes(self, address: Address, start: int, length: int) -> bytes:
        begin = self._begins[address][start : start + length]
        at = (start + len(begin)) % len(self._made)
        rest = length - len(begin)
        tail = self._made[at : at + rest]
        while len(tail) < rest:
            tail += self._made[: rest - len(tail)]
        return begin + tail if begin else tail

    def _digest(self, address: Address, start: int, data: bytes) -> bytes:
        is_block = len(data) == CHUNK_BYTES and start % CHUNK_BYTES == 0
        if is_block and start >= len(self._begins[address]):
            return self._digests[start // CHUNK_BYTES % _BLOCKS]
        return blake3(data).digest()


class _Stage:
    """A machine without a network: jobs with datasets, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.source = _MadeUp()
        self.folder = folder
        workers = ThreadWorkers()
        self._executor = ProcessExecutor(
            folder / "x", ExecutorConfig(given_bytes_max=1 << 40), {}, workers
        )
        disk = DataDisk(folder / "data", self._executor.room_for_data, self._executor.share_disk)
        self._datasets = DatasetService(
            self._executor,
            self.source,  # type: ignore[arg-type]  # as much of it as datasets need
            workers,
            disk,
        )
        self._jobs = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            await nursery.start(self._executor.run)
            await nursery.start(self._datasets.run)
            way, why = self._executor.data_way()
            if self._executor.trouble() or way is not DataWay.LAZY:
                raise SystemExit(self._executor.trouble() or why)
            yield
            nursery.cancel_scope.cancel()

    async def job(
        self, script: str, cap: str, *words: str, is_whole: str = ""
    ) -> tuple[str, float]:
        """What a program prints that sees the dataset at /data; seconds from order to end."""
        self._jobs += 1
        job = JobId(f"bench.{self._jobs}")
        await self._executor.prepare(job)
        began_s = trio.current_time()
        if is_whole:
            data: tuple[DataMount, ...] = (DataMount("/data", cap, False, is_whole),)
        else:
            data = await self._datasets.mounts(job, [("/data", cap)])
        argv = (_PYTHON, "-c", script, "/data", *words)
        what = JobSpec(job, argv, {}, 2000, 4 << 30, 64, MIB, 600.0, data=data)
        await self._executor.start(what)
        ended = await self._executor.wait(job)
        took_s = trio.current_time() - began_s
        out = await self._executor.read_log(job, "stdout", 0, MIB)
        if ended.code:
            raise SystemExit((await self._executor.read_log(job, "stderr", 0, MIB)).decode())
        await self._executor.forget(job)
        return out.decode(), took_s

    def local_file(self) -> str:
        """As many bytes in a file of this machine's disk."""
        place = self.folder / "local"
        if not place.exists():
            with open(place, "wb") as file:
                for _ in range(READ_BYTES // CHUNK_BYTES):
                    file.write(os.urandom(CHUNK_BYTES))
                file.flush()
                os.fsync(file.fileno())
        return str(place)

    def drop_memory(self) -> None:
        """Nothing of what is on disk is in memory."""
        for place in (self.folder / "data").rglob("*"):
            if place.is_file():
                _drop(place)
        _drop(Path(self.local_file()))


def _drop(place: Path) -> None:
    fd = os.open(place, os.O_RDONLY)
    os.fdatasync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def _folder_of(files: int) -> tuple[int, bytes]:
    """Size and beginning of the object of a folder with so many files of 1,000 bytes."""
    entries = [TreeEntry(b"", EntryKind.FOLDER, 0o755)]
    entries += [TreeEntry(b"%05d" % n, EntryKind.FILE, 0o644, 1000) for n in range(files)]
    begin = write_index(entries)
    return len(begin) + files * 1000, begin


async def _round(stage: _Stage) -> dict[str, float]:
    cap, local = stage.source.add(READ_BYTES), stage.local_file()
    mine, _ = await stage.job(_TWICE, cap, "2")
    first, second = map(float, mine.split())
    theirs, _ = await stage.job(_TWICE, cap, "2", is_whole=local)
    stage.drop_memory()
    cold, _ = await stage.job(_TWICE, cap, "1")
    stage.drop_memory()
    local_cold, _ = await stage.job(_TWICE, cap, "1", is_whole=local)
    _, batch_s = await stage.job(_BATCH, stage.source.add(LARGE_BYTES))
    size, begin = _folder_of(FILES)
    listed, _ = await stage.job(_LIST, stage.source.add(size, begin))
    return {
        "data_epoch1_vs_source": first / RATE,
        "data_epoch2_vs_local": second / float(theirs.split()[1]),
        "data_next_job_vs_local": float(cold) / float(local_cold),
        "epoch1_mb_s": first / 1e6,
        "epoch2_mb_s": second / 1e6,
        "next_job_mb_s": float(cold) / 1e6,
        "local_cold_mb_s": float(local_cold) / 1e6,
        "first_batch_s": batch_s,
        "ls_10000_s": float(listed.split()[0]),
    }


async def _measure(rounds: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="bench-data-") as folder:
        stage = _Stage(Path(folder))
        async with stage.running():
            seen = [await _round(stage) for _ in range(rounds)]
    return {name: round(statistics.median(one[name] for one in seen), 3) for name in seen[0]}


def measure(rounds: int) -> dict[str, object]:
    """The figures, each a median over the rounds."""
    return trio.run(_measure, rounds)
