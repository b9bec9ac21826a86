"""What every Executor promises of environments that were built for the pool."""

import pytest
import trio
import trio.testing
from blake3 import blake3

from swarmnode.errors import EnvironmentDamagedError
from swarmnode.tree.format import EntryKind, TreeEntry, write_index
from tests.executor_lab import Machine, pieces

FOLDER, FILE = TreeEntry(b"", EntryKind.FOLDER, 0o755), TreeEntry(b"a", EntryKind.FILE, 0o644, 1)
TREE = write_index([FOLDER, FILE]) + b"x"


async def test_what_is_brought_can_be_asked_for_and_comes_once(machine: Machine) -> None:
    async with machine.node() as executor, trio.open_nursery() as nursery:
        assert executor.bringing.is_possible
        assert not executor.bringing.has("@one")
        nursery.start_soon(executor.bringing.arrived)
        await trio.testing.wait_all_tasks_blocked()
        await executor.bringing.bring("@one", blake3(TREE).digest(), pieces(TREE[:20], TREE[20:]))
        assert executor.bringing.has("@one")
        assert "@one" in executor.environments()
        await executor.bringing.bring("@one", b"", pieces(b"nobody reads this"))


async def test_what_is_not_as_it_was_signed_is_not_kept(machine: Machine) -> None:
    async with machine.node() as executor:
        with pytest.raises(EnvironmentDamagedError):
            await executor.bringing.bring("@one", blake3(b"other").digest(), pieces(TREE))
        assert not executor.bringing.has("@one")
