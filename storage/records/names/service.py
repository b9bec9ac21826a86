"""Mutable names as a service: reads and writes by quorum, and keeping names for others.

What protects a name. It belongs to a key; records and ballots are signed by that key, or by a
machine to which the key granted one fence (`rights`). Holders check that before they promise or
keep anything, and readers check it of what holders tell: a holder can be silent or behind, but it
cannot make up a value, nor a ballot that would lock the owner out. Any member may read; what must
stay secret is encrypted by whoever writes it.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec
import trio
from blake3 import blake3

from p2p.effects import Rng
from p2p.errors import WireError
from p2p.host.rpc.service import Rpc
from p2p.ids import NetworkId, PeerId
from p2p.membership.port import Views
from p2p.wire.envelope import Signed, Signer, seal
from storage.engine.port import Tables
from storage.errors import (
    NameConflictError,
    StaleFenceError,
    StoreFullError,
    TooFewPeersError,
)
from storage.facade import NameValue
from storage.limits import NAME_GRANTED_KEPT_MS, NAME_KEPT_MS
from storage.records.names.client import NameClient, NamesConfig
from storage.records.names.core import (
    Holders,
    Poll,
    name_key,
)
from storage.records.names.handing_over import NameHandOver
from storage.records.names.holder import NameHolder
from storage.records.names.messages import (
    BALLOT_DOMAIN,
    NAME_DOMAIN,
    Ballot,
    BallotClaim,
    NameAccept,
    NamePrepare,
    NameRead,
    NameRecord,
    NameState,
)
from storage.records.names.owned import NamesOfOne
from storage.records.names.rights import NameRight, NameRights

_CONFIG: Final = NamesConfig()

POOLS_OWED_MAX: Final = 8
"""Pools one after another, none of which was handed over whole: as many machines came and went."""
AGAIN_S: Final = 10.0
"""Until the same is handed over again to who could not be told; twice as long each time ..."""
AGAIN_MAX_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class NamesStats:
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
        self.may_sweep: Callable[[], bool] = lambda: True
        """Whether time counts now: names end by the wall clock, which may be wrong."""
        self._signer, self._network = signer, network
        self._wall_ms, self._rng, self._config = wall_ms, rng, config
        self._rights = NameRights(signer, network)
        self._holder = NameHolder(
            tables, self._rights, wall_ms, lambda peer: members.view().find(peer)
        )
        self._asker = NameClient(rpc, members, self._rights, config)
        self._counter = 0
        """Of our newest ballot: wall-clock milliseconds, or one above all that it had to beat."""
        self._locks: dict[bytes, trio.Lock] = {}
        """By key: our own writes of a name go one by one; gone when none waits."""
        self._reads = self._writes = self._conflicts = self._stale = self._handed_over = 0
        """Since the start (`NamesStats`)."""
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
        return NamesOfOne(right, self._read, self._write)

    async def _read(self, right: NameRight, name: str) -> NameValue | None:
        self._reads += 1
        key = name_key(right.owner, name)
        for attempt in range(self._config.tries):
            poll = await self._asker.ask(key, NameRead(key), lambda poll: poll.has_quorum)
            if poll.is_settled or (poll.has_quorum and await self._settle(right, name, poll)):
                return self._value(poll.newest)
            await self._back_off(attempt)
        raise self._too_few(poll)

    async def _settle(self, right: NameRight, name: str, poll: Poll) -> bool:
        """Have the newest record decided, so that no later reader sees an older one."""
        newest, heard = poll.newest, poll.highest_ballot()
        if newest.accepted is None or newest.sealed is None or heard is None:
            return False
        fence = heard.fence if right.fence is None else right.fence
        if right.signer is None or fence < heard.fence:
            # As it was proposed: that needs no right, and fails only while another ballot is open.
            request = NameAccept(newest.accepted, newest.sealed, newest.accept_claim)
            told = await self._asker.ask(poll.key, request, lambda poll: poll.is_kept_twice)
            return told.is_decided
        ballot = self._ballot(fence, heard)
        claim = self._claim(right, name, ballot)
        again = await self._asker.ask(
            poll.key, NamePrepare(poll.key, ballot, claim), lambda poll: poll.has_quorum
        )
        if not again.has_quorum or again.newest.accepted != newest.accepted:
            return False
        return await self._finish(poll.key, ballot, claim, again.newest.sealed)

    async def _write(self, right: NameRight, wanted: NameRecord) -> NameValue:
        key = name_key(right.owner, wanted.name)
        lock = self._locks.setdefault(key, trio.Lock())
        try:
            async with lock:
                return await self._write_locked(key, right, wanted)
        finally:
            if lock.statistics().tasks_waiting == 0 and not lock.locked():
                self._locks.pop(key, None)

    async def _write_locked(self, key: bytes, right: NameRight, wanted: NameRecord) -> NameValue:
        heard: Ballot | None = None
        for attempt in range(self._config.tries):
            ballot = self._ballot(wanted.fence, heard)
            claim = self._claim(right, wanted.name, ballot)
            request = NamePrepare(key, ballot, claim)
            poll = await self._asker.ask(key, request, lambda poll: poll.has_quorum)
            heard = poll.highest_ballot()
            self._check_fence(wanted, heard)
            if poll.has_quorum:
                done = await self._replace(key, right, (ballot, claim), poll.newest.sealed, wanted)
                if done is not None:
                    return done
            await self._back_off(attempt)
        raise self._too_few(poll, ballot)

    def _check_fence(self, wanted: NameRecord, heard: Ballot | None) -> None:
        if heard is not None and heard.fence > wanted.fence:
            self._stale += 1
            raise StaleFenceError(
                f"{wanted.name} is written under fence {heard.fence}, ours is {wanted.fence}"
            )

    async def _replace(
        self,
        key: bytes,
        right: NameRight,
        under: tuple[Ballot, Signed],
        sealed: Signed | None,
        wanted: NameRecord,
    ) -> NameValue | None:
        """Second half of a write, over the present record; None: try again."""
        present = self._open(sealed)
        sequence = present.sequence if present is not None else 0
        if sequence != wanted.sequence - 1:
            if not await self._finish(key, *under, sealed):
                return None
            if present is not None and _is_same(present, sealed, right, wanted):
                return NameValue(present.sequence, present.fence, present.value)
            self._conflicts += 1
            value = present.value if present is not None else b""
            raise NameConflictError(wanted.name, sequence, value)
        previous = blake3(sealed.payload).digest() if sealed is not None else b""
        record = msgspec.structs.replace(wanted, previous=previous)
        if not await self._finish(key, *under, self._seal(right, record)):
            return None
        self._writes += 1
        return NameValue(record.sequence, record.fence, record.value)

    async def _finish(
        self, key: bytes, ballot: Ballot, claim: Signed, sealed: Signed | None
    ) -> bool:
        """Have a record accepted by a majority; True at once when there is none."""
        if sealed is None:
            return True
        request = NameAccept(ballot, sealed, claim)
        poll = await self._asker.ask(key, request, lambda poll: poll.is_kept_twice)
        return poll.is_decided

    # -- records and ballots

    def _seal(self, right: NameRight, record: NameRecord) -> Signed:
        assert right.signer is not None, "NamesOfOne and write refuse others"
        kept_ms = NAME_KEPT_MS if right.grant is None else NAME_GRANTED_KEPT_MS
        return seal(
            right.signer, self._network, NAME_DOMAIN, record,
            sequence=record.sequence, expires_ms=self._wall_ms() + kept_ms,
        )  # fmt: skip

    def _claim(self, right: NameRight, name: str, ballot: Ballot) -> Signed:
        assert right.signer is not None, "NamesOfOne and write refuse others"
        claim = BallotClaim(right.owner, name, ballot, right.grant)
        return seal(
            right.signer, self._network, BALLOT_DOMAIN, claim,
            sequence=ballot.fence, expires_ms=self._wall_ms() + NAME_KEPT_MS,
        )  # fmt: skip

    def _open(self, sealed: Signed | None) -> NameRecord | None:
        return None if sealed is None else self._rights.record(sealed)

    def _value(self, state: NameState) -> NameValue | None:
        record = self._open(state.sealed)
        return NameValue(record.sequence, record.fence, record.value) if record else None

    def _ballot(self, fence: int, heard: Ballot | None) -> Ballot:
        floor = max(self._counter, heard.counter if heard is not None else 0)
        self._counter = max(self._wall_ms(), floor + 1)
        return Ballot(fence, self._counter, self._signer.peer_id, self._rng.getrandbits(32))

    async def _back_off(self, attempt: int) -> None:
        await trio.sleep(self._rng.uniform(0, self._config.backoff_s * 2**attempt))

    def _too_few(self, poll: Poll, ours: Ballot | None = None) -> TooFewPeersError:
        """`ours`: the ballot of the last try to write."""
        highest = poll.highest_ballot()
        if not poll.has_quorum:
            remedy = "wait until more of the swarm can be reached, then try again"
        elif ours is not None and highest is not None and highest > ours:
            remedy = "others are writing this name: try again"
        else:
            remedy = "not all who keep this name took it (full, or just gone): try again later"
        return TooFewPeersError(len(poll.answers), poll.holders.quorum, remedy)

    # -- running

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep names where they belong until cancelled; start it after tables and rpc."""
        async with trio.open_nursery() as nursery:
            self._holder.count()
            self._asker.begin(nursery, self._holder.remembered())
            nursery.start_soon(self._sweep_forever)
            task_status.started()
            await self._hand_over_forever()

    def holders(self, key: bytes) -> Holders:
        """Who holds a name now, by our view."""
        return self._asker.holders(key)

    def stats(self) -> NamesStats:
        """A snapshot for telemetry and tests."""
        return NamesStats(
            self._reads, self._writes, self._conflicts, self._stale, self._handed_over,
            self._holder.held,
        )  # fmt: skip

    async def _sweep_forever(self) -> None:
        while True:
            await trio.sleep(self._config.sweep_s)
            if not self.may_sweep():
                continue
            with suppress(StoreFullError):  # a full disk frees nothing: next time
                await self._holder.sweep()

    async def _hand_over_forever(self) -> None:
        """`owed`: pools of before, what was decided in which some holders have not been told."""
        owed, written = [self._asker.pool()], None
        untold, pause_s, again_s = frozenset[PeerId](), AGAIN_S, 0.0
        reached: bytes | None = None
        while True:
            present = self._asker.pool()
            if present.members != written:
                with suppress(StoreFullError):  # written down once there is room
                    await self._holder.remember(present.members)
                    written = present.members
            is_new = present.decides != owed[-1].decides
            if is_new:
                owed, pause_s = [*owed[-POOLS_OWED_MAX:], present], AGAIN_S
            can_be_told = bool(untold - present.dead) and trio.current_time() >= again_s
            if len(owed) > 1 and (is_new or can_be_told):
                whom = None if is_new else untold
                pools, me = (owed[:-1], present), self._signer.peer_id
                work = NameHandOver(me, self._asker, self._holder.page, *pools, whom, reached)
                untold, reached = await work.run(), work.reached
                self._handed_over += work.told
                again_s, pause_s = trio.current_time() + pause_s, min(2 * pause_s, AGAIN_MAX_S)
                owed = owed if untold else [present]
            await trio.sleep(self._config.watch_s)


def _is_same(
    present: NameRecord, sealed: Signed | None, right: NameRight, wanted: NameRecord
) -> bool:
    """Whether an earlier try of the same write has become the present record."""
    same = (present.sequence, present.fence, present.value)
    if sealed is None or right.signer is None or sealed.sender != right.signer.peer_id:
        return False
    return same == (wanted.sequence, wanted.fence, wanted.value)
