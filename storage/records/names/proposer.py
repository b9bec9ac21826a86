"""Reads and writes of names, each by a quorum of its holders (cf. CASPaxos, Rystsov 2018).

read    ask -> all agree, or have the newest record decided first -> its value
write   prepare a ballot -> what is there now is finished, or replaced -> accepted by a majority
"""

import msgspec
import trio
from blake3 import blake3

from p2p.effects import Rng
from p2p.wire.envelope import Signed
from storage.errors import NameConflictError, StaleFenceError, TooFewPeersError
from storage.facade import NameValue
from storage.locks import KeyedLocks
from storage.records.names.asker import NameAsker
from storage.records.names.config import NamesConfig
from storage.records.names.core import Poll, name_key
from storage.records.names.messages import (
    Ballot,
    NameAccept,
    NamePrepare,
    NameRead,
    NameRecord,
)
from storage.records.names.rights import NameRight, NameRights
from storage.records.names.signing import NamePen


class _Round(msgspec.Struct, frozen=True):
    """A try of ours to have a record decided, under one ballot."""

    key: bytes
    right: NameRight
    ballot: Ballot
    claim: Signed


class NameProposer:
    """Acts for whoever works with names on this machine."""

    def __init__(
        self, asker: NameAsker, rights: NameRights, pen: NamePen, rng: Rng, config: NamesConfig
    ) -> None:
        self._asker, self._rights, self._pen = asker, rights, pen
        self._rng, self._config = rng, config
        self._locks = KeyedLocks[bytes]()
        """By key: our own writes of a name go one by one."""
        self.reads = self.writes = self.conflicts = self.stale = 0
        """Since the start (storage.records.names.service.NamesStats)."""

    async def read(self, right: NameRight, name: str) -> NameValue | None:
        """The newest value. Raises TooFewPeersError."""
        self.reads += 1
        key = name_key(right.owner, name)
        for attempt in range(self._config.tries):
            poll = await self._asker.ask(key, NameRead(key), lambda poll: poll.has_quorum)
            if poll.is_settled or (poll.has_quorum and await self._settle(right, name, poll)):
                record = self._open(poll.newest.sealed)
                return None if record is None else _value_of(record)
            await self._back_off(attempt)
        raise _too_few(poll)

    async def _settle(self, right: NameRight, name: str, poll: Poll) -> bool:
        """Have the newest record decided, so that no later reader sees an older one."""
        newest, heard = poll.newest, poll.highest_ballot()
        if newest.accepted is None or newest.sealed is None or heard is None:
            return False
        fence = heard.fence if right.fence is None else right.fence
        if right.signer is None or fence < heard.fence:
            # As it was proposed: that needs no right, and fails only while another ballot is open.
            request = NameAccept(newest.accepted, newest.sealed, newest.accept_claim)
            return await self._is_decided(poll.key, request)
        ours, again = await self._prepare(poll.key, right, name, fence, heard)
        if not again.has_quorum or again.newest.accepted != newest.accepted:
            return False
        return await self._finish(ours, again.newest.sealed)

    async def write(self, right: NameRight, wanted: NameRecord) -> NameValue:
        """Put a record in the place of the one before it.

        Raises NameConflictError, StaleFenceError, TooFewPeersError.
        """
        key = name_key(right.owner, wanted.name)
        async with self._locks.of(key):
            return await self._write_locked(key, right, wanted)

    async def _write_locked(self, key: bytes, right: NameRight, wanted: NameRecord) -> NameValue:
        heard: Ballot | None = None
        for attempt in range(self._config.tries):
            ours, poll = await self._prepare(key, right, wanted.name, wanted.fence, heard)
            heard = poll.highest_ballot()
            self._check_fence(wanted, heard)
            if poll.has_quorum:
                done = await self._replace(ours, poll.newest.sealed, wanted)
                if done is not None:
                    return done
            await self._back_off(attempt)
        raise _too_few(poll, ours.ballot)

    def _check_fence(self, wanted: NameRecord, heard: Ballot | None) -> None:
        if heard is not None and heard.fence > wanted.fence:
            self.stale += 1
            raise StaleFenceError(
                f"{wanted.name} is written under fence {heard.fence}, ours is {wanted.fence}"
            )

    async def _replace(
        self, ours: _Round, sealed: Signed | None, wanted: NameRecord
    ) -> NameValue | None:
        """Second half of a write, over the present record; None: try again."""
        present = self._open(sealed)
        sequence = present.sequence if present is not None else 0
        if sequence != wanted.sequence - 1:
            is_done = await self._finish(ours, sealed)
            return self._written_before(ours.right, present, sealed, wanted) if is_done else None
        previous = blake3(sealed.payload).digest() if sealed is not None else b""
        record = msgspec.structs.replace(wanted, previous=previous)
        if not await self._finish(ours, self._pen.seal(ours.right, record)):
            return None
        self.writes += 1
        return _value_of(record)

    def _written_before(
        self,
        right: NameRight,
        present: NameRecord | None,
        sealed: Signed | None,
        wanted: NameRecord,
    ) -> NameValue:
        """What an earlier try of the same write made. Raises NameConflictError if none did."""
        if present is not None and _is_same(present, sealed, right, wanted):
            return _value_of(present)
        self.conflicts += 1
        value, sequence = (present.value, present.sequence) if present is not None else (b"", 0)
        raise NameConflictError(wanted.name, sequence, value)

    # -- rounds

    async def _prepare(
        self, key: bytes, right: NameRight, name: str, fence: int, heard: Ballot | None
    ) -> tuple[_Round, Poll]:
        """Have a new ballot of ours promised; what the holders say of it."""
        ballot = self._pen.ballot(fence, heard)
        ours = _Round(key, right, ballot, self._pen.claim(right, name, ballot))
        request = NamePrepare(key, ballot, ours.claim)
        return ours, await self._asker.ask(key, request, lambda poll: poll.has_quorum)

    async def _finish(self, ours: _Round, sealed: Signed | None) -> bool:
        """Have a record accepted by a majority; True at once when there is none."""
        if sealed is None:
            return True
        return await self._is_decided(ours.key, NameAccept(ours.ballot, sealed, ours.claim))

    async def _is_decided(self, key: bytes, request: NameAccept) -> bool:
        poll = await self._asker.ask(key, request, lambda poll: poll.is_kept_twice)
        return poll.is_decided

    def _open(self, sealed: Signed | None) -> NameRecord | None:
        return None if sealed is None else self._rights.record(sealed)

    async def _back_off(self, attempt: int) -> None:
        await trio.sleep(self._rng.uniform(0, self._config.backoff_s * 2**attempt))


def _too_few(poll: Poll, ours: Ballot | None = None) -> TooFewPeersError:
    """`ours`: the ballot of the last try to write."""
    highest = poll.highest_ballot()
    if not poll.has_quorum:
        remedy = "wait until more of the swarm can be reached, then try again"
    elif ours is not None and highest is not None and highest > ours:
        remedy = "others are writing this name: try again"
    else:
        remedy = "not all who keep this name took it (full, or just gone): try again later"
    return TooFewPeersError(len(poll.answers), poll.holders.quorum, remedy)


def _value_of(record: NameRecord) -> NameValue:
    return NameValue(record.sequence, record.fence, record.value)


def _is_same(
    present: NameRecord, sealed: Signed | None, right: NameRight, wanted: NameRecord
) -> bool:
    """Whether an earlier try of the same write has become the present record."""
    same = (present.sequence, present.fence, present.value)
    if sealed is None or right.signer is None or sealed.sender != right.signer.peer_id:
        return False
    return same == (wanted.sequence, wanted.fence, wanted.value)
