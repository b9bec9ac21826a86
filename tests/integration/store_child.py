"""A process to be killed: stores and forgets shards, and says what it was promised.

python -m tests.integration.store_child FOLDER SEED      lines: put ROOT | deleting ROOT
"""

import random
import sys
from functools import partial
from pathlib import Path

import trio

from p2p.workers import ThreadWorkers
from storage.coding.merkle import root_of
from storage.engine.lmdb_tables import LmdbTables
from storage.engine.port import WriteView
from storage.volumes.store import VolumeStore

FILE_BYTES = 4 << 20
SIZES = (100, 16_000, 20_000, 100_000, 700_000)


def store_in(folder: Path) -> tuple[LmdbTables, VolumeStore]:
    """The parts a node would build, with small volumes so that several come and go."""
    tables = LmdbTables(folder / "tables", map_bytes=1 << 32)
    store = VolumeStore(
        folder / "segments",
        tables,
        ThreadWorkers(),
        quota_bytes=1 << 30,
        min_free_bytes=0,
        file_bytes=FILE_BYTES,
    )
    return tables, store


def _lease(root: bytes, view: WriteView) -> None:
    view.put("leases", root, b"held")


async def _churn(store: VolumeStore, dice: random.Random) -> None:
    while True:
        data = dice.randbytes(dice.choice(SIZES))
        root = root_of(data)
        await store.put(root, data, partial(_lease, root))
        print("put", root.hex(), flush=True)
        if dice.random() < 0.4:
            print("deleting", root.hex(), flush=True)
            await store.delete([root])


async def main(folder: Path, seed: int) -> None:
    """Work until killed."""
    tables, store = store_in(folder)
    async with trio.open_nursery() as nursery:
        await nursery.start(tables.run)
        await nursery.start(store.run)
        for number in range(4):
            nursery.start_soon(_churn, store, random.Random(seed * 100 + number))


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
