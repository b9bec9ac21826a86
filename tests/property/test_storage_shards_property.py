"""Segment files and memory are the same store to whoever uses them, over restarts and crashes."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from p2p.workers import InlineWorkers
from storage.coding.merkle import root_of
from storage.engine.lmdb_tables import LmdbTables
from storage.engine.memory_tables import MemoryTables
from storage.errors import StorageError
from storage.ids import ShardRoot
from storage.volumes.memory import MemoryShardStore
from storage.volumes.port import ShardStore
from storage.volumes.punch import punch_hole
from storage.volumes.store import VolumeStore

SIZES = (0, 1, 4096, 16_384, 16_385, 40_000, 65_536, 150_000)
SHARDS = [random.Random(at).randbytes(size) for at, size in enumerate(SIZES)]
ROOTS = [root_of(data) for data in SHARDS]
QUOTA = 330_000
FILE_BYTES = 120_000

numbers = st.integers(0, len(SIZES) - 1)
steps = st.one_of(
    st.tuples(st.just("put"), numbers),
    st.tuples(st.just("put with lease"), numbers),
    st.tuples(st.just("put wrong bytes"), numbers),
    st.tuples(st.just("refused"), numbers),
    st.tuples(st.just("get"), numbers),
    st.tuples(st.just("read"), numbers, st.integers(0, 160_000), st.integers(0, 160_000)),
    st.tuples(st.just("delete"), st.lists(numbers, max_size=4)),
    st.tuples(st.just("restart")),
    st.tuples(st.just("crash")),
)


def refuse(_view: object) -> None:
    raise StorageError("refused")


async def outcome_of(store: ShardStore, step: tuple[object, ...]) -> object:
    """What one step gives, errors by their type."""
    name, *rest = step
    try:
        match name, rest:
            case "put", [int(at)]:
                await store.put(ROOTS[at], SHARDS[at])
            case "put with lease", [int(at)]:
                await store.put(
                    ROOTS[at], SHARDS[at], lambda view: view.put("leases", ROOTS[at], b"l")
                )
            case "put wrong bytes", [int(at)]:
                await store.put(ROOTS[at], SHARDS[at] + b"x")
            case "refused", [int(at)]:
                await store.put(ROOTS[at], SHARDS[at], refuse)
            case "get", [int(at)]:
                return await store.get(ROOTS[at])
            case "read", [int(at), int(start), int(length)]:
                return await store.read(ROOTS[at], start, length)
            case "delete", [list(chosen)]:
                return await store.delete([ROOTS[at] for at in chosen])
    except StorageError as error:
        return type(error).__name__
    return None


def seen_of(store: ShardStore) -> tuple[object, ...]:
    """What shows without waiting."""
    return (store.used_bytes(), store.free_bytes(), [store.length(root) for root in ROOTS])


class Pair:
    """A segment store and its twin, restarted together."""

    def __init__(self, folder: Path, punch: Callable[[int, int, int], bool]) -> None:
        self._folder, self._punch = folder, punch
        self._lives = 0
        self._memory = MemoryTables()

    async def live(self, steps_of_life: list[tuple[object, ...]], *, crash: bool) -> None:
        """One life of the process. A crash leaves a copy of the files as they are, unclosed."""
        folder = self._folder / str(self._lives)
        tables = LmdbTables(folder / "tables", map_bytes=1 << 28)
        real = VolumeStore(
            folder / "segments",
            tables,
            InlineWorkers(),
            quota_bytes=QUOTA,
            min_free_bytes=0,
            file_bytes=FILE_BYTES,
            punch=self._punch,
        )
        twin = MemoryShardStore(self._memory, quota_bytes=QUOTA)
        async with trio.open_nursery() as nursery:
            await nursery.start(tables.run)
            await nursery.start(real.run)
            assert seen_of(real) == seen_of(twin)
            for step in steps_of_life:
                assert await outcome_of(real, step) == await outcome_of(twin, step), step
                assert seen_of(real) == seen_of(twin), step
            for root in ROOTS:
                assert tables.get("leases", root) == self._memory.get("leases", root)
            if crash:
                shutil.copytree(folder, self._folder / str(self._lives + 1))
                self._lives += 1
            nursery.cancel_scope.cancel()
        tables.close()


def lives_of(history: list[tuple[object, ...]]) -> list[tuple[list[tuple[object, ...]], bool]]:
    """Cut a history at its restarts and crashes."""
    lives: list[tuple[list[tuple[object, ...]], bool]] = [([], False)]
    for step in history:
        if step[0] in {"restart", "crash"}:
            lives[-1] = (lives[-1][0], step[0] == "crash")
            lives.append(([], False))
        else:
            lives[-1][0].append(step)
    return lives


@settings(max_examples=40, deadline=None)
@given(st.lists(steps, min_size=5, max_size=40), st.booleans())
def test_segment_files_behave_as_memory_does(
    history: list[tuple[object, ...]], can_punch: bool
) -> None:
    async def main(folder: Path) -> None:
        pair = Pair(folder, punch_hole if can_punch else lambda fd, offset, size: False)
        for steps_of_life, crash in lives_of(history):
            await pair.live(steps_of_life, crash=crash)

    with TemporaryDirectory() as name:
        trio.run(main, Path(name))


def test_the_shards_of_this_file_differ() -> None:
    assert len({ShardRoot(root) for root in ROOTS}) == len(SIZES)
