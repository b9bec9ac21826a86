"""An Index without a network: one table shared by every machine of a simulation."""

import msgspec
import trio

from p2p.host.port import Host
from p2p.ids import PeerId


class IndexTable(msgspec.Struct):
    """What everybody announced, in the order of announcing."""

    announced: dict[bytes, dict[PeerId, tuple[str, ...]]] = msgspec.field(default_factory=dict)


class MemoryIndex:
    """One machine's view of an IndexTable (`p2p.host.port.Index`)."""

    def __init__(self, host: Host, table: IndexTable) -> None:
        self._host = host
        self._table = table

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Nothing to do but to be there."""
        task_status.started()
        await trio.sleep_forever()

    async def announce(self, key: bytes) -> None:
        """Enter our addresses under `key`."""
        await trio.lowlevel.checkpoint()
        self._table.announced.setdefault(key, {})[self._host.peer_id] = self._host.addresses()

    async def find(self, key: bytes, limit: int) -> list[tuple[PeerId, tuple[str, ...]]]:
        """The first `limit` that announced `key`."""
        await trio.lowlevel.checkpoint()
        return list(self._table.announced.get(key, {}).items())[:limit]
