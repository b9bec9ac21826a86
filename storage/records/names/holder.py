"""One holder's part of mutable names: what it promised and accepted, durable before it answers."""

from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from p2p.errors import RefusalError, WireError
from p2p.identity.caller import Caller
from p2p.ids import PeerId
from p2p.membership.view import Member
from p2p.wire.codec import Message, Record, encode
from p2p.wire.envelope import Signed
from storage.engine.port import Tables, WriteView
from storage.engine.stored import stored
from storage.errors import StoreFullError
from storage.limits import NAME_KEPT_MS, NAME_PENDING_MS, NAMES_PER_SCAN
from storage.records.names.core import NOTHING, accept, is_sane, name_key, promise
from storage.records.names.messages import (
    Ballot,
    NameAccept,
    NameHeld,
    NamePrepare,
    NameRead,
    NameRecord,
    NameState,
)
from storage.records.names.quota import Accounts, NamePayer
from storage.records.names.rights import NameRights

TABLE: Final = "name_entries"
UNSIGNED_TABLE: Final = "names"
"""Of versions whose ballots were not signed: nothing in it can be believed."""
MEMBERS_TABLE, MEMBERS_KEY = "name_members", b"members"
NAME_KEY_BYTES: Final = 32


class NameEntry(Record, frozen=True):
    """A name as it is kept here."""

    state: NameState
    payer: NamePayer
    noted_ms: int
    """Wall clock of its first promise or record."""


class NameHolder:
    """Answers NameRead, NamePrepare and NameAccept from a table."""

    def __init__(
        self,
        tables: Tables,
        rights: NameRights,
        wall_ms: Callable[[], int],
        find: Callable[[PeerId], Member | None] = lambda _peer: None,
    ) -> None:
        """`find` gives members as their certificates prove them."""
        self._tables, self._rights, self._wall_ms, self._find = tables, rights, wall_ms, find
        self._accounts = Accounts()
        """Who has how many names in the table; read anew by `count`."""

    @property
    def held(self) -> int:
        """Names kept here."""
        return self._accounts.held

    def count(self) -> None:
        """Learn how many names are kept, and for whom; once, before the first is answered."""
        self._accounts = Accounts()
        after: bytes | None = None
        while page := self._tables.scan(TABLE, after=after, limit=NAMES_PER_SCAN):
            for _, packed in page:
                entry = stored(NameEntry, packed, "store.lmdb")
                self._accounts.add(entry.payer, is_pending=entry.state.sealed is None)
            after = page[-1][0]

    async def on_read(
        self, caller: Caller, request: NameRead, body: bytes
    ) -> tuple[Message, bytes]:
        """What is kept of a name. Any member may ask: what is secret is encrypted."""
        _check_key(request.key)
        await trio.lowlevel.checkpoint()
        return NameHeld(True, self._state(request.key)), b""

    async def on_prepare(
        self, caller: Caller, request: NamePrepare, body: bytes
    ) -> tuple[Message, bytes]:
        """Promise a ballot unless a higher one was promised."""
        _check_key(request.key)
        ballot, claim = request.ballot, request.claim
        is_grant = self._check_claim(request.key, ballot, claim)
        if is_grant and claim is not None and claim.sender != caller.peer:
            raise RefusalError("not-yours", "that grant is another machine's")
        payer = NamePayer(caller.person, caller.lab, is_grant)
        held = await self._change(request.key, payer, lambda old: promise(old, ballot, claim))
        return held, b""

    async def on_accept(
        self, caller: Caller, request: NameAccept, body: bytes
    ) -> tuple[Message, bytes]:
        """Keep a record unless a higher ballot was promised."""
        record = self._checked(request.sealed)
        key = name_key(record.owner, record.name)
        is_grant = self._check_claim(key, request.ballot, request.claim)
        if record.fence > request.ballot.fence:
            raise RefusalError("corrupt", "a record of a later fence than its ballot")
        proposal = NameState(None, request.ballot, request.sealed, None, request.claim)
        payer = self._payer(caller, request.claim, is_grant)
        held = await self._change(key, payer, lambda old: accept(old, proposal))
        state = NameState(held.state.promised, promise_claim=_promise_claim(held.state))
        return NameHeld(held.done, state), b""

    async def _change(
        self, key: bytes, payer: NamePayer, change: Callable[[NameState], NameState | None]
    ) -> NameHeld:
        def apply(view: WriteView) -> tuple[NameHeld, NameEntry | None, NameEntry | None]:
            packed = view.get(TABLE, key)
            old = None if packed is None else stored(NameEntry, packed, "store.lmdb")
            state = NOTHING if old is None else old.state
            changed = change(state)
            if changed is None:
                return NameHeld(False, state), old, None
            if old is None:
                self._accounts.check(payer)
                entry = NameEntry(changed, payer, self._wall_ms())
            else:
                entry = NameEntry(changed, old.payer, old.noted_ms)
            view.put(TABLE, key, encode(entry))
            return NameHeld(True, changed), old, entry

        try:
            with self._accounts.coming(payer, key):
                held, old, entry = await self._tables.transact(apply)
                if entry is not None:
                    self._charge(old, entry)
        except StoreFullError as error:
            raise RefusalError("full", str(error)) from error
        return held

    def _charge(self, old: NameEntry | None, entry: NameEntry) -> None:
        is_pending = entry.state.sealed is None
        if old is None:
            self._accounts.add(entry.payer, is_pending=is_pending)
        elif old.state.sealed is None and not is_pending:
            self._accounts.written(entry.payer)

    def _payer(self, caller: Caller, claim: Signed | None, is_grant: bool) -> NamePayer:
        """Whoever wrote it, if that is a machine we know; else whoever brings it."""
        writer = None if claim is None else self._find(claim.sender)
        if writer is None or not writer.person:
            return NamePayer(caller.person, caller.lab, is_grant)
        return NamePayer(writer.person, writer.lab, is_grant)

    def _check_claim(self, key: bytes, ballot: Ballot, claim: Signed | None) -> bool:
        """Raise RefusalError unless the ballot is its signer's; True when that is by a grant."""
        if not is_sane(ballot):
            raise RefusalError("corrupt", "no honest ballot counts so far")
        try:
            opened = self._rights.check_claim(key, ballot, claim)
        except WireError as error:
            raise RefusalError("not-yours", str(error)) from error
        return claim is not None and claim.sender != opened.owner

    def _checked(self, sealed: Signed) -> NameRecord:
        try:
            record = self._rights.record(sealed)
        except WireError as error:
            raise RefusalError("not-yours", str(error)) from error
        now_ms = self._wall_ms()
        if not now_ms < sealed.expires_ms < now_ms + 2 * NAME_KEPT_MS:
            raise RefusalError("expired", "the record expires too early or too late")
        return record

    def _state(self, key: bytes) -> NameState:
        packed = self._tables.get(TABLE, key)
        return NOTHING if packed is None else stored(NameEntry, packed, "store.lmdb").state

    def remembered(self) -> tuple[PeerId, ...]:
        """Among whom names were spread when this was last written down."""
        packed = self._tables.get(MEMBERS_TABLE, MEMBERS_KEY)
        return tuple(PeerId(peer) for peer in packed.decode().split()) if packed else ()

    async def remember(self, peers: tuple[PeerId, ...]) -> None:
        """Write down among whom names are spread. Raises StoreFullError."""
        packed = " ".join(peers).encode()
        await self._tables.transact(lambda view: view.put(MEMBERS_TABLE, MEMBERS_KEY, packed))

    def page(self, after: bytes | None = None) -> list[tuple[bytes, NameState]]:
        """The next few names kept here, in key order; none at the end."""
        return [(key, entry.state) for key, entry in self._entries(after)]

    def _entries(self, after: bytes | None) -> list[tuple[bytes, NameEntry]]:
        pairs = self._tables.scan(TABLE, after=after, limit=NAMES_PER_SCAN)
        return [(key, stored(NameEntry, packed, "store.lmdb")) for key, packed in pairs]

    async def sweep(self) -> int:
        """Forget names whose record has expired, and those that never got one; how many.

        Raises StoreFullError.
        """
        now_ms, gone, after = self._wall_ms(), 0, None
        await self._forget_unsigned()
        while page := self._entries(after):
            for key, entry in page:
                if _is_over(entry, now_ms):
                    gone += await self._forget(key, now_ms)
            after = page[-1][0]
            await trio.lowlevel.checkpoint()
        return gone

    async def _forget(self, key: bytes, now_ms: int) -> bool:
        def apply(view: WriteView) -> NameEntry | None:
            packed = view.get(TABLE, key)
            entry = None if packed is None else stored(NameEntry, packed, "store.lmdb")
            if entry is None or not _is_over(entry, now_ms):  # written meanwhile
                return None
            view.delete(TABLE, key)
            return entry

        entry = await self._tables.free(apply)
        if entry is not None:
            self._accounts.add(entry.payer, is_pending=entry.state.sealed is None, count=-1)
        return entry is not None

    async def _forget_unsigned(self) -> None:
        while page := self._tables.scan(UNSIGNED_TABLE, limit=NAMES_PER_SCAN):
            await self._tables.free(partial(_delete_all, [key for key, _ in page]))


def _is_over(entry: NameEntry, now_ms: int) -> bool:
    sealed = entry.state.sealed
    if sealed is None:
        return entry.noted_ms + NAME_PENDING_MS < now_ms
    return sealed.expires_ms < now_ms


def _delete_all(keys: list[bytes], view: WriteView) -> None:
    for key in keys:
        view.delete(UNSIGNED_TABLE, key)


def _promise_claim(state: NameState) -> Signed | None:
    """What proves the promised ballot, also where that is the accepted one."""
    return state.accept_claim if state.promised == state.accepted else state.promise_claim


def _check_key(key: bytes) -> None:
    if len(key) != NAME_KEY_BYTES:
        raise RefusalError("corrupt", f"a key of {len(key)} bytes")
