"""Mutable names as a service: reads and writes by quorum, and keeping names for others.

What protects a name. Only members reach a holder, every record carries the signature of the machine
that wrote it, and under `own/` only the machine itself can write. All other names belong to the
network: whoever knows `task/<id>/<key>` and gives a higher fence may write it. That a fence was
really awarded is not checked by holders; the signature tells afterwards who lied. A member that
raises a name's fence without end can lock its writers out.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import trio
from blake3 import blake3

from p2p.effects import Rng
from p2p.errors import (
    CallTimeoutError,
    PeerUnreachableError,
    RemoteRefusalError,
    WireError,
)
from p2p.host.rpc import Rpc
from p2p.ids import NetworkId, PeerId, TrafficClass
from p2p.membership.view import Liveness, View
from p2p.wire.codec import Message
from p2p.wire.envelope import Signed, Signer, open_signed, seal
from storage.engine.port import Tables
from storage.errors import (
    NameConflictError,
    StaleFenceError,
    StoreFullError,
    TooFewPeersError,
)
from storage.facade import NameValue
from storage.limits import NAME_KEPT_MS, NAME_NUMBER_MAX, NAME_VALUE_BYTES_MAX
from storage.records.names_core import (
    Holders,
    Poll,
    counted_members,
    holders_of,
    is_proper,
    is_sane,
    name_key,
    owner_of,
    with_remembered,
)
from storage.records.names_holder import NameHolder
from storage.records.names_messages import (
    NAME_DOMAIN,
    Ballot,
    NameAccept,
    NameHeld,
    NamePrepare,
    NameRead,
    NameRecord,
    NameState,
)


class Members(Protocol):
    """What we need of membership: p2p.membership.service.MembershipService has it."""

    def view(self) -> View: ...


@dataclass(frozen=True, slots=True)
class NamesConfig:
    """Times in seconds."""

    call_timeout_s: float = 3.0
    """A holder answers after one commit: milliseconds when it is healthy."""
    tries: int = 8
    """Rounds of a read or write: lost to other writers, or to connections that broke."""
    backoff_s: float = 0.05
    """Wait up to this, doubled each time, so that rivals do not meet again."""
    down_after_s: float = 15 * 60.0
    """A dead member counts as a holder for so long: see names_core for what that guards."""
    watch_s: float = 2.0
    """How often we look whether the holders have changed and names must be handed over."""
    sweep_s: float = 24 * 3600.0
    """How often names that nobody wrote for a year are forgotten."""


@dataclass(frozen=True, slots=True)
class NamesStats:
    """Counted since the start."""

    reads: int = 0
    writes: int = 0
    conflicts: int = 0
    stale: int = 0
    handed_over: int = 0
    held: int = 0


class NameService:
    """Satisfies storage.facade.Names, and keeps names for others."""

    def __init__(
        self,
        rpc: Rpc,
        members: Members,
        tables: Tables,
        signer: Signer,
        network: NetworkId,
        *,
        wall_ms: Callable[[], int],
        rng: Rng,
        config: NamesConfig = NamesConfig(),
    ) -> None:
        """`tables` must be running before the first peer connects."""
        self._rpc, self._members, self._signer, self._network = rpc, members, signer, network
        self._wall_ms, self._rng, self._config = wall_ms, rng, config
        self._holder = NameHolder(tables, signer, network, wall_ms)
        self._nursery: trio.Nursery | None = None
        self._remembered: tuple[PeerId, ...] = ()
        self._started_s = 0.0
        self._counter = 0
        self._locks: dict[bytes, trio.Lock] = {}
        self._reads = self._writes = self._conflicts = self._stale = self._handed_over = 0
        rpc.serve(NameRead, self._holder.on_read)
        rpc.serve(NamePrepare, self._holder.on_prepare)
        rpc.serve(NameAccept, self._holder.on_accept)

    # -- storage.facade.Names

    async def read(self, name: str) -> NameValue | None:
        """The newest value that was written; None when there never was one.

        Raises TooFewPeersError, ValueError (not a name).
        """
        self._reads += 1
        key = name_key(owner_of(name, self._signer.peer_id), name)
        for attempt in range(self._config.tries):
            poll = await self._ask(key, NameRead(key), lambda poll: poll.has_quorum)
            if poll.is_settled:
                return self._value(poll.newest)
            heard = poll.highest_ballot()
            if poll.has_quorum and heard is not None:
                ballot = self._ballot(heard.fence, heard)
                poll = await self._ask(key, NamePrepare(key, ballot), lambda poll: poll.has_quorum)
                if poll.has_quorum and await self._finish(key, ballot, poll.newest.sealed):
                    return self._value(poll.newest)
            await self._back_off(attempt)
        raise self._too_few(poll, poll.holders.quorum)

    async def write(self, name: str, value: bytes, *, expected: int, fence: int) -> NameValue:
        """Replace the value of sequence `expected` (0: there is none yet).

        Repeating a write whose outcome is unknown is safe: it succeeds if it had already.
        Raises NameConflictError, StaleFenceError; TooFewPeersError, after which the write may or
        may not have happened; ValueError (not a name, too long a value).
        """
        if len(value) > NAME_VALUE_BYTES_MAX:
            raise ValueError(f"a value has at most {NAME_VALUE_BYTES_MAX} bytes: store an object")
        if not 0 <= fence < NAME_NUMBER_MAX or not 0 <= expected < NAME_NUMBER_MAX:
            raise ValueError("fence and expected sequence are 0 or more, and below 2^53")
        owner = owner_of(name, self._signer.peer_id)
        key = name_key(owner, name)
        wanted = NameRecord(owner, name, expected + 1, fence, value, b"")
        lock = self._locks.setdefault(key, trio.Lock())
        try:
            async with lock:
                return await self._write(key, wanted)
        finally:
            if lock.statistics().tasks_waiting == 0 and not lock.locked():
                self._locks.pop(key, None)

    async def _write(self, key: bytes, wanted: NameRecord) -> NameValue:
        heard: Ballot | None = None
        for attempt in range(self._config.tries):
            ballot = self._ballot(wanted.fence, heard)
            poll = await self._ask(key, NamePrepare(key, ballot), lambda poll: poll.has_quorum)
            heard = poll.highest_ballot()
            self._check_fence(wanted, heard)
            if poll.has_quorum:
                done = await self._replace(key, ballot, poll.newest.sealed, wanted)
                if done is not None:
                    return done
            await self._back_off(attempt)
        raise self._too_few(poll, poll.holders.quorum)

    def _check_fence(self, wanted: NameRecord, heard: Ballot | None) -> None:
        if heard is not None and heard.fence > wanted.fence:
            self._stale += 1
            raise StaleFenceError(
                f"{wanted.name} is written under fence {heard.fence}, ours is {wanted.fence}"
            )

    async def _replace(
        self, key: bytes, ballot: Ballot, sealed: Signed | None, wanted: NameRecord
    ) -> NameValue | None:
        """Second half of a write, over the present record; None: try again."""
        present = self._open(sealed)
        sequence = present.sequence if present is not None else 0
        if sequence != wanted.sequence - 1:
            if not await self._finish(key, ballot, sealed):
                return None
            if present is not None and self._is_ours(present, sealed, wanted):
                return NameValue(present.sequence, present.fence, present.value)
            self._conflicts += 1
            value = present.value if present is not None else b""
            raise NameConflictError(wanted.name, sequence, value)
        record = NameRecord(
            wanted.owner, wanted.name, wanted.sequence, wanted.fence, wanted.value,
            blake3(sealed.payload).digest() if sealed is not None else b"",
        )  # fmt: skip
        if not await self._finish(key, ballot, self._seal(record)):
            return None
        self._writes += 1
        return NameValue(record.sequence, record.fence, record.value)

    def _is_ours(self, present: NameRecord, sealed: Signed | None, wanted: NameRecord) -> bool:
        """Whether an earlier try of the same write has become the present record."""
        same = (present.sequence, present.fence, present.value)
        ours = sealed is not None and sealed.sender == self._signer.peer_id
        return ours and same == (wanted.sequence, wanted.fence, wanted.value)

    async def _finish(self, key: bytes, ballot: Ballot, sealed: Signed | None) -> bool:
        """Have a record accepted by a majority; True at once when there is none."""
        if sealed is None:
            return True
        poll = await self._ask(key, NameAccept(ballot, sealed), lambda poll: poll.is_kept_twice)
        return poll.has_majority

    # -- records and ballots

    def _seal(self, record: NameRecord) -> Signed:
        until_ms = self._wall_ms() + NAME_KEPT_MS
        return seal(
            self._signer, self._network, NAME_DOMAIN, record,
            sequence=record.sequence, expires_ms=until_ms,
        )  # fmt: skip

    def _open(self, sealed: Signed | None) -> NameRecord | None:
        if sealed is None:
            return None
        return open_signed(self._signer, self._network, NAME_DOMAIN, NameRecord, sealed)

    def _value(self, state: NameState) -> NameValue | None:
        record = self._open(state.sealed)
        return NameValue(record.sequence, record.fence, record.value) if record else None

    def _ballot(self, fence: int, heard: Ballot | None) -> Ballot:
        floor = max(self._counter, heard.counter if heard is not None else 0)
        self._counter = max(self._wall_ms(), floor + 1)
        return Ballot(fence, self._counter, self._signer.peer_id, self._rng.getrandbits(32))

    async def _back_off(self, attempt: int) -> None:
        await trio.sleep(self._rng.uniform(0, self._config.backoff_s * 2**attempt))

    def _too_few(self, poll: Poll, need: int) -> TooFewPeersError:
        remedy = "wait until more of the swarm can be reached, then try again"
        if poll.has_quorum:
            remedy = "others are writing this name: try again"
        return TooFewPeersError(len(poll.answers), need, remedy)

    # -- asking the holders

    def holders(self, key: bytes) -> Holders:
        """Who holds a name now, by our view."""
        return holders_of(key, self._counted())

    def _counted(self) -> tuple[PeerId, ...]:
        view, now_s, patience_s = (
            self._members.view(),
            trio.current_time(),
            self._config.down_after_s,
        )
        counted = counted_members(view, now_s, patience_s)
        running_s = now_s - self._started_s
        return with_remembered(counted, view, self._remembered, running_s, patience_s)

    async def _ask(self, key: bytes, request: Message, enough: Callable[[Poll], bool]) -> Poll:
        """Ask everybody; returns when it is enough, or all have answered or failed.

        The remaining questions go on: so that those who are late learn of the record too.
        """
        if self._nursery is None:
            raise RuntimeError("NameService.run must be started before names are used")
        poll = Poll(self.holders(key))
        view, done = self._members.view(), trio.Event()
        dead = [m.peer for m in view.members if m.liveness is Liveness.DEAD and m.peer != view.me]
        asked = [peer for peer in poll.holders.asked if peer not in dead]
        poll.waiting = len(asked)

        async def ask(peer: PeerId) -> None:
            held = await self._ask_one(peer, key, request)
            poll.waiting -= 1
            if held is not None and not done.is_set():
                poll.answers[peer] = held
            if enough(poll) or poll.waiting == 0:
                done.set()

        for peer in asked:
            self._nursery.start_soon(ask, peer)
        await done.wait()
        return poll

    async def _ask_one(self, peer: PeerId, key: bytes, request: Message) -> NameHeld | None:
        try:
            held, _ = await self._rpc.call(
                peer, request, NameHeld,
                traffic_class=TrafficClass.INTERACTIVE, timeout_s=self._config.call_timeout_s,
            )  # fmt: skip
            record = self._open(held.state.sealed)
        except (PeerUnreachableError, CallTimeoutError, RemoteRefusalError, WireError):
            return None  # no answer, or none that can be trusted: the others decide
        return held if self._is_credible(key, held.state, record) else None

    def _is_credible(self, key: bytes, state: NameState, record: NameRecord | None) -> bool:
        if not all(is_sane(b) for b in (state.promised, state.accepted) if b is not None):
            return False
        if record is None or state.sealed is None or state.accepted is None:
            return record is None and state.accepted is None
        is_this_name = name_key(record.owner, record.name) == key
        return is_this_name and is_proper(record, state.accepted, state.sealed.sender)

    # -- running

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep names where they belong until cancelled; start it after tables and rpc."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._holder.count()
            self._remembered, self._started_s = self._holder.remembered(), trio.current_time()
            nursery.start_soon(self._sweep_forever)
            task_status.started()
            await self._hand_over_forever()

    def stats(self) -> NamesStats:
        """A snapshot for telemetry and tests."""
        return NamesStats(
            self._reads, self._writes, self._conflicts, self._stale, self._handed_over,
            self._holder.held,
        )  # fmt: skip

    async def _sweep_forever(self) -> None:
        while True:
            with suppress(StoreFullError):  # a full disk frees nothing: next time
                await self._holder.sweep()
            await trio.sleep(self._config.sweep_s)

    async def _hand_over_forever(self) -> None:
        known, written = self._counted(), None
        while True:
            present = self._counted()
            if present != written:
                with suppress(StoreFullError):  # written down once there is room
                    await self._holder.remember(present)
                    written = present
            if present != known and await self._hand_over(known, present):
                known = present
            await trio.sleep(self._config.watch_s)

    async def _hand_over(self, old: tuple[PeerId, ...], new: tuple[PeerId, ...]) -> bool:
        """Tell the new holders what the old ones know; False: not all could be told.

        Two of the old holders do it, in case one of them is behind.
        """
        is_whole, after = True, None
        while page := self._holder.page(after):
            for key, state in page:
                is_whole = await self._hand_over_one(key, state, old, new) and is_whole
            after = page[-1][0]
            await trio.lowlevel.checkpoint()
        return is_whole

    async def _hand_over_one(
        self, key: bytes, state: NameState, old: tuple[PeerId, ...], new: tuple[PeerId, ...]
    ) -> bool:
        me = self._signer.peer_id
        before, after = holders_of(key, old).asked, holders_of(key, new).asked
        still_here = [peer for peer in before if peer in new]
        if before == after or me not in still_here[:2]:
            return True
        if state.accepted is None or state.sealed is None:
            return True
        is_whole = True
        for peer in [peer for peer in after if peer != me]:
            told = await self._ask_one(peer, key, NameAccept(state.accepted, state.sealed))
            self._handed_over += told is not None
            is_whole = is_whole and told is not None
        return is_whole
