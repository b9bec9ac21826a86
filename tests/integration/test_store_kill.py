"""A node that is killed at any moment loses nothing it acknowledged."""

import random
import subprocess
import sys
from pathlib import Path

import trio

from storage.ids import ShardRoot
from storage.volumes.layout import footprint
from tests.integration.store_child import store_in

ROOT = Path(__file__).parents[2]
ROUNDS = 10


class Promises:
    """What the child said it holds; a delete that was begun may or may not have happened."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.undecided: set[str] = set()

    def hear(self, line: str) -> None:
        if not line.endswith("\n"):  # cut off by the kill
            return
        what, root = line.split()
        if what == "put":
            self.held.add(root)
        else:
            self.held.discard(root)
            self.undecided.add(root)


async def kill_in_the_middle(folder: Path, seed: int, promises: Promises) -> None:
    """Run the child, listen to it, kill it after a random number of promises."""
    command = [sys.executable, "-m", "tests.integration.store_child", str(folder), str(seed)]
    child = await trio.lowlevel.open_process(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    assert child.stdout is not None
    wanted, heard = random.Random(seed).randrange(20, 120), 0
    rest = b""
    async with child.stdout as lines:
        async for chunk in lines:
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                promises.hear(line.decode() + "\n")
            heard += len(whole)
            if heard >= wanted:
                child.kill()
    await child.wait()
    assert child.stderr is not None
    assert heard >= wanted, (await child.stderr.receive_some()).decode()
    await child.stderr.aclose()


async def check(folder: Path, promises: Promises) -> None:
    """Everything promised is there, whole, with its lease; the counters agree."""
    tables, store = store_in(folder)
    async with trio.open_nursery() as nursery:
        await nursery.start(tables.run)
        await nursery.start(store.run)
        for name in sorted(promises.held):
            root = ShardRoot(bytes.fromhex(name))
            await store.get(root)
            assert tables.get("leases", root) == b"held"
        known = [ShardRoot(root) for root, _ in tables.scan("shards", limit=100_000)]
        for root in known:  # not acknowledged, or deleting, but then whole as well
            await store.get(root)
        assert store.used_bytes() == sum(footprint(store.length(root) or 0) for root in known)
        extra = [root for root in known if root.hex() not in promises.held]
        await store.delete(extra)
        on_disk = [path.stat() for path in (folder / "segments").glob("*.seg")]
        assert sum(one.st_blocks * 512 for one in on_disk) < store.used_bytes() + (1 << 20)
        nursery.cancel_scope.cancel()
    tables.close()


async def test_no_acknowledged_shard_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    promises = Promises()
    with trio.fail_after(150):
        for seed in range(ROUNDS):
            await kill_in_the_middle(tmp_path, seed, promises)
            await check(tmp_path, promises)
    assert len(promises.held) > 10 * ROUNDS
