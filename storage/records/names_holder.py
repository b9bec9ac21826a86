"""One holder's part of mutable names: what it promised and accepted, durable before it answers."""

from collections.abc import Callable
from functools import partial

import trio

from p2p.errors import RefusalError, WireError
from p2p.identity.caller import Caller
from p2p.ids import NetworkId, PeerId
from p2p.wire.codec import Message, decode_as, encode
from p2p.wire.envelope import Signed, Signer, open_signed
from storage.engine.port import Tables, WriteView
from storage.errors import StoreFullError
from storage.limits import (
    NAME_KEPT_MS,
    NAMES_HELD_MAX,
    NAMES_PER_SCAN,
)
from storage.records.names_core import NOTHING, accept, is_proper, is_sane, name_key, promise
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

TABLE = "names"
MEMBERS_TABLE, MEMBERS_KEY = "name_members", b"members"
KEY_BYTES = 32


class NameHolder:
    """Answers NameRead, NamePrepare and NameAccept from a table."""

    def __init__(
        self, tables: Tables, signer: Signer, network: NetworkId, wall_ms: Callable[[], int]
    ) -> None:
        self._tables, self._signer, self._network = tables, signer, network
        self._wall_ms = wall_ms
        self.held = 0
        """Names kept here."""

    def count(self) -> None:
        """Learn how many names are kept; once, before the first is answered."""
        after: bytes | None = None
        self.held = 0
        while page := self._tables.scan(TABLE, after=after, limit=NAMES_PER_SCAN):
            self.held += len(page)
            after = page[-1][0]

    async def on_read(
        self, caller: Caller, request: NameRead, body: bytes
    ) -> tuple[Message, bytes]:
        """What is kept of a name."""
        _check_key(request.key)
        await trio.lowlevel.checkpoint()
        return NameHeld(True, _unpack(self._tables.get(TABLE, request.key))), b""

    async def on_prepare(
        self, caller: Caller, request: NamePrepare, body: bytes
    ) -> tuple[Message, bytes]:
        """Promise a ballot unless a higher one was promised."""
        _check_key(request.key)
        _check_ballot(request.ballot)
        ballot = request.ballot
        held = await self._change(request.key, lambda state: promise(state, ballot))
        return held, b""

    async def on_accept(
        self, caller: Caller, request: NameAccept, body: bytes
    ) -> tuple[Message, bytes]:
        """Keep a record unless a higher ballot was promised."""
        _check_ballot(request.ballot)
        record = self._checked(request.ballot, request.sealed)
        proposal = NameState(None, request.ballot, request.sealed)
        key = name_key(record.owner, record.name)
        held = await self._change(key, lambda state: accept(state, proposal))
        return NameHeld(held.done, NameState(held.state.promised)), b""

    async def _change(
        self, key: bytes, change: Callable[[NameState], NameState | None]
    ) -> NameHeld:
        has_room = self.held < NAMES_HELD_MAX

        def apply(view: WriteView) -> tuple[NameHeld, bool]:
            packed = view.get(TABLE, key)
            state = _unpack(packed)
            changed = change(state)
            if changed is None:
                return NameHeld(False, state), False
            if packed is None and not has_room:
                raise RefusalError("full", "no room for another name here")
            view.put(TABLE, key, encode(changed))
            return NameHeld(True, changed), packed is None

        try:
            held, is_new = await self._tables.transact(apply)
        except StoreFullError as error:
            raise RefusalError("full", str(error)) from error
        self.held += is_new
        return held

    def _checked(self, ballot: Ballot, sealed: Signed) -> NameRecord:
        try:
            record = open_signed(self._signer, self._network, NAME_DOMAIN, NameRecord, sealed)
        except WireError as error:
            raise RefusalError("corrupt", str(error)) from error
        if not is_proper(record, ballot, sealed.sender):
            raise RefusalError("corrupt", "this is not a record of a name its sender may write")
        now_ms = self._wall_ms()
        if not now_ms < sealed.expires_ms < now_ms + 2 * NAME_KEPT_MS:
            raise RefusalError("expired", "the record expires too early or too late")
        return record

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
        pairs = self._tables.scan(TABLE, after=after, limit=NAMES_PER_SCAN)
        return [(key, _unpack(packed)) for key, packed in pairs]

    async def sweep(self) -> int:
        """Forget names whose record has expired; how many. Raises StoreFullError."""
        now_ms, gone, after = self._wall_ms(), 0, None
        while page := self.page(after):
            for key, state in page:
                if state.sealed is not None and state.sealed.expires_ms < now_ms:
                    gone += await self._tables.transact(partial(_forget, key))
            after = page[-1][0]
            await trio.lowlevel.checkpoint()
        self.held -= gone
        return gone


def _forget(key: bytes, view: WriteView) -> bool:
    return view.delete(TABLE, key)


def _check_key(key: bytes) -> None:
    if len(key) != KEY_BYTES:
        raise RefusalError("corrupt", f"a key of {len(key)} bytes")


def _check_ballot(ballot: Ballot) -> None:
    if not is_sane(ballot):
        raise RefusalError("corrupt", "no honest ballot counts so far")


def _unpack(packed: bytes | None) -> NameState:
    return NOTHING if packed is None else decode_as(NameState, packed)
