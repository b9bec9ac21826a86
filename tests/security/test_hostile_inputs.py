"""Folders that nobody would make, as inputs of tasks: they end their task and no node."""

import random
import shutil
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest
import trio

from p2p.wire.codec import encode
from storage.manifests.capability import text_of_cap
from swarmnode.errors import OutputUnsafeError
from swarmnode.executor.port import JobId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.spec import Shape, TaskSpec
from swarmnode.tree.format import MAGIC, EntryKind, TreeEntry, TreeHead, TreePage, write_index
from swarmnode.tree.unpack import Unpacker
from testnet.sim.seeded import simulated
from testnet.sim.world import World
from tests.job_lab import needs_bwrap, running_executor

JOB = JobId("t.1")
SHAPE = Shape(cpu_millis=1000, memory_bytes=1 << 30, disk_bytes=1 << 20)
ONE_FILE = write_index([TreeEntry(b"", EntryKind.FILE, 0o755, 4)]) + b"text"
CASES = 3000
NAMES = (b"a", b"b", b"c", b"..", b"a\0b", b"\xff", b"x" * 256, b"a/../b", b"/a", b"b/a", b"a/b/c")
TARGETS = (b"", b"a", b"b", b"../x", b"/etc", b"a/../..", b".", b"a\0b", b"x" * 5000, b"b/a", b"c")


async def some(data: bytes) -> AsyncGenerator[bytes, None]:
    await trio.lowlevel.checkpoint()
    yield data


@needs_bwrap
async def test_one_file_cannot_be_the_work_folder(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        await executor.prepare(JOB)
        async with aclosing(some(ONE_FILE)) as source:
            with pytest.raises(OutputUnsafeError, match="no folder"):
                await executor.unpack(JOB, (), source)
        await executor.unpack(JOB, (b"run",), some(ONE_FILE))
        assert [one.name for one in await executor.list_files(JOB, "**")] == ["run"]


@simulated
async def test_a_task_that_is_given_one_file_as_its_folder_fails_and_ends_no_node() -> None:
    world = World(1, ["m0", "m1", "m2"], labs=1)
    async with world.running():
        await trio.sleep(20)
        node = world["m0"].up
        cap = text_of_cap((await node.storage.objects.put(some(ONE_FILE))).cap)
        task = await node.market.buyer.submit(
            TaskSpec(("true",), inputs=((".", cap),), shape=SHAPE)
        )
        with trio.fail_after(120):
            ended = await node.market.buyer.wait(task)
        assert ended.state is TaskState.FAILED
        assert ended.record.outcome is not None
        assert "no folder" in ended.record.outcome.detail


def entry(dice: random.Random, path: bytes, kind: EntryKind) -> TreeEntry:
    mode = (
        dice.choice((0o755, 0o7777, -1, 1 << 40))
        if kind in (EntryKind.FOLDER, EntryKind.FILE)
        else 0
    )
    size = dice.choice((0, 1, 5, -1, 1 << 62)) if kind is EntryKind.FILE else 0
    return TreeEntry(
        path, kind, mode, size, dice.choice(TARGETS) if kind >= EntryKind.LINK else b""
    )


def tree(dice: random.Random) -> bytes:
    """In the form of one, with any entries, most of them in order."""
    paths = sorted(
        {dice.choice(NAMES) for _ in range(dice.randrange(7))}, key=lambda p: p.split(b"/")
    )
    top = TreeEntry(b"", dice.choice((EntryKind.FOLDER, EntryKind.FOLDER, EntryKind.FILE)), 0o755)
    entries = (top, *(entry(dice, path, EntryKind(dice.randrange(4))) for path in paths))
    page, content = encode(TreePage(entries)), sum(one.size for one in entries)
    head = encode(TreeHead(len(entries), 1, 4 + len(page), max(0, content)))
    framed = b"".join(len(part).to_bytes(4) + part for part in (head, page))
    return MAGIC + framed + b"z" * min(64, max(0, content))


def test_no_tree_is_anything_but_refused_or_made_inside(tmp_path: Path) -> None:
    dice, made = random.Random(0), 0
    for _ in range(CASES):
        root = tmp_path / "outside" / "root"
        root.mkdir(parents=True)
        unpacker = Unpacker(str(root), dice.choice(((), (b"in",))))
        try:
            unpacker.feed(tree(dice))
            unpacker.finish()
            made += 1
        except (OutputUnsafeError, OSError):
            pass
        finally:
            unpacker.close()
        assert [one.name for one in (tmp_path / "outside").iterdir()] == ["root"]
        shutil.rmtree(root.parent)
    assert made > CASES // 50
