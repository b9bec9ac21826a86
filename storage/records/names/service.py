"""Mutable names as a service: reads and writes by quorum, and keeping names for others.

What protects a name. It belongs to a key; records and ballots are signed by that key, or by a
machine to which the key granted one fence (`rights`). Holders check that before they promise or
keep anything, and readers check it of what holders tell: a holder can be silent or behind, but it
cannot make up a value, nor a ballot that would lock the owner out. Any member may read; what must
stay secret is encrypted by whoever writes it.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec
import trio

from p2p.effects import Rng
from p2p.errors import WireError
from p2p.host.rpc.service import Rpc
from p2p.ids import NetworkId
from p2p.membership.port import Views
from p2p.wire.envelope import Signed, Signer
from storage.engine.port import Tables
from storage.errors import StoreFullError
from storage.records.names.asker import NameAsker
from storage.records.names.config import NamesConfig
from storage.records.names.core import Holders
from storage.records.names.holder import NameHolder
from storage.records.names.messages import NameAccept, NamePrepare, NameRead
from storage.records.names.owned import NamesOfOne
from storage.records.names.proposer import NameProposer
from storage.records.names.rights import NameRight, NameRights
from storage.records.names.signing import NamePen
from storage.records.names.succession import NameSuccession

_CONFIG: Final = NamesConfig()


class NamesStats(msgspec.Struct, frozen=True):
    """Counted since the start."""

    reads: int = 0
    writes: int = 0
    conflicts: int = 0
    """Writes that found another record than they were to replace."""
    stale: int = 0
    """Writes under a fence below one that was heard of."""
    handed_over: int = 0
    """Records that others took from us, as they hold the name now."""
    held: int = 0
    """Names kept here now."""


class NameService:
    """Satisfies storage.facade.NameStore, and keeps names for others."""

    def __init__(
        self,
        rpc: Rpc,
        members: Views,
        tables: Tables,
        signer: Signer,
        network: NetworkId,
        *,
        wall_ms: Callable[[], int],
        rng: Rng,
        config: NamesConfig = _CONFIG,
    ) -> None:
        """`tables` must be running before the first peer connects."""
        self._signer, self._config = signer, config
        self._rights = NameRights(signer, network)
        self._holder = NameHolder(
            tables, self._rights, wall_ms, lambda peer: members.view().find(peer)
        )
        self._asker = NameAsker(rpc, members, self._rights, config)
        pen = NamePen(signer, network, wall_ms, rng)
        self._proposer = NameProposer(self._asker, self._rights, pen, rng, config)
        self._succession = NameSuccession(signer.peer_id, self._asker, self._holder, config)
        rpc.serve(NameRead, self._holder.on_read)
        rpc.serve(NamePrepare, self._holder.on_prepare)
        rpc.serve(NameAccept, self._holder.on_accept)

    # -- storage.facade.NameStore

    def machine(self) -> NamesOfOne:
        """Names of this machine."""
        return self._owned(NameRight(self._signer.peer_id, self._signer))

    def person(self, key: Signer) -> NamesOfOne:
        """Names of the person whose key this is."""
        return self._owned(NameRight(key.peer_id, key))

    def task(self, key: Signer) -> NamesOfOne:
        """Names of the task whose key this is."""
        return self._owned(NameRight(key.peer_id, key))

    def attempt(self, grant: Signed) -> NamesOfOne:
        """Names of the task that lets this machine write them under one fence.

        Raises WireError for a grant that is forged, or another machine's.
        """
        granted = self._rights.grant(grant)
        if granted.machine != self._signer.peer_id:
            raise WireError(f"that grant is for {granted.machine}")
        return self._owned(NameRight(grant.sender, self._signer, grant, granted.fence))

    def of(self, owner: str) -> NamesOfOne:
        """Names of any key, to be read."""
        return self._owned(NameRight(owner))

    def _owned(self, right: NameRight) -> NamesOfOne:
        return NamesOfOne(right, self._proposer.read, self._proposer.write)

    # -- running

    async def run(
        self,
        may_sweep: Callable[[], bool],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keep names where they belong until cancelled; start it after tables and rpc.

        `may_sweep`: whether time counts now: names end by the wall clock, which may be wrong.
        """
        async with trio.open_nursery() as nursery:
            self._holder.count()
            self._asker.begin(nursery, self._holder.remembered())
            nursery.start_soon(self._sweep_forever, may_sweep)
            task_status.started()
            await self._succession.run()

    def holders(self, key: bytes) -> Holders:
        """Who holds a name now, by our view."""
        return self._asker.holders(key)

    def stats(self) -> NamesStats:
        """A snapshot for telemetry and tests."""
        ours = self._proposer
        return NamesStats(
            ours.reads, ours.writes, ours.conflicts, ours.stale, self._succession.handed_over,
            self._holder.held,
        )  # fmt: skip

    async def _sweep_forever(self, may_sweep: Callable[[], bool]) -> None:
        while True:
            await trio.sleep(self._config.sweep_s)
            if not may_sweep():
                continue
            with suppress(StoreFullError):  # a full disk frees nothing: next time
                await self._holder.sweep()
