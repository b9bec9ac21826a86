"""Runs the register: keeps it, spreads it, and ends the connections of whoever is out."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

import trio

from p2p.buckets import Buckets
from p2p.effects import Rng
from p2p.host.admission.book import AdmissionBook
from p2p.host.port import Host
from p2p.host.rpc.service import Rpc
from p2p.identity.caller import Caller
from p2p.identity.register.records import KEY_BYTES, digest_of
from p2p.identity.register.register import Entry
from p2p.ids import MemberId, PeerId
from p2p.limits import FORGERY_COST, REMOVALS_MAX, USES_MAX
from p2p.register.limits import (
    ANSWER_MESSAGES_MAX,
    COMPARED_BURST,
    COMPARED_PER_S,
    ENTRIES_BURST,
    ENTRIES_BYTES_MAX,
    ENTRIES_PER_MESSAGE_MAX,
    ENTRIES_PER_S,
    FANOUT,
    RECONCILE_S,
    SWEEP_S,
    UNKEPT_MAX,
)
from p2p.register.messages import Entries, Held, RegisterKeys
from p2p.wire.codec import encode
from p2p.wire.envelope import Signed

_KEYS_BYTES_MAX: Final = (REMOVALS_MAX + USES_MAX) * KEY_BYTES


class EntryStore(Protocol):
    """Where entries outlive the process; node.py hands one over the state tables."""

    def load(self) -> list[Signed]:
        """Every entry that was kept and can be read."""
        ...

    async def keep(self, entries: Mapping[bytes, Signed]) -> bool:
        """Durable when it returns True; False when the disk is full."""
        ...

    async def forget(self, keys: Iterable[bytes]) -> None:
        """Drop what is no longer needed."""


class RegisterService:
    """Who is out, for the rest of the node."""

    def __init__(
        self,
        book: AdmissionBook,
        rpc: Rpc,
        host: Host,
        store: EntryStore,
        *,
        rng: Rng,
        wall_ms: Callable[[], int],
    ) -> None:
        self.book, self.register = book, book.register
        self._rpc, self._host, self._store = rpc, host, store
        self._rng, self._wall_ms = rng, wall_ms
        self._buckets = Buckets(ENTRIES_BURST, ENTRIES_PER_S)
        """How many entries each peer may still bring."""
        self._compared = Buckets(COMPARED_BURST, COMPARED_PER_S)
        """How often each may still compare digests with us."""
        self._answered = Buckets(COMPARED_BURST, COMPARED_PER_S)
        """How often each may still show its keys."""
        self._fresh: list[tuple[Entry, PeerId | None]] = []
        """Entries to be spread, and who brought each (None: we): it need not hear of it."""
        self._unkept: dict[bytes, Signed] = {}
        """Entries that are not on disk yet, by key; at most UNKEPT_MAX."""
        self._wake = trio.Event()
        """Set when an entry has come."""
        self._out: Mapping[PeerId, str] = {}
        """Machines that are out, and why, as of the last sweep; another mapping when it changes."""
        self._listeners: list[Callable[[Mapping[PeerId, str]], None]] = []
        self._bringer: PeerId | None = None
        """Whose entries are being taken just now; None: our own."""
        self.on_lapsed: Callable[[PeerId, str], None] = lambda _peer, _why: None
        """Told of each connection that is ended because certificates have; must not block."""
        self.throttled = 0
        """Entries and comparisons dropped because a peer brought too many."""
        self.register.listeners.append(self._on_entry)
        rpc.listen(Held, self._on_held)
        rpc.listen(RegisterKeys, self._on_keys)
        rpc.listen(Entries, self._on_entries)
        rpc.on_peer(self._on_peer)

    # -- what the rest of the node asks

    def out(self) -> Mapping[PeerId, str]:
        """Machines that are out for good, with the reason, as of the last look."""
        return self._out

    def people_out(self) -> frozenset[MemberId]:
        """People none of whose machines is a member any more."""
        everybody = self.book.everybody().items()
        staying = {who.member for peer, who in everybody if peer not in self._out}
        return frozenset(who.member for _, who in everybody if who.member not in staying)

    def would_misdate(self, but_for: str = "") -> bool:
        """Whether what we sign now would be dated wrong in most eyes; see AdmissionBook."""
        return self.book.would_misdate(self._host.peers(), but_for)

    def on_out(self, listener: Callable[[Mapping[PeerId, str]], None]) -> None:
        """Be told all that are out whenever that has changed; must not block."""
        self._listeners.append(listener)

    async def add(self, sealed: Signed) -> Entry | None:
        """Take an entry of our own, keep it, act on it and tell everybody; None if it is known."""
        entry = self.register.take(sealed, self._wall_ms())
        await self._keep()
        return entry

    # -- running

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Load, then keep, spread and sweep until cancelled; start it before the host."""
        self.register.take_all(self._store.load(), self._wall_ms())
        self._fresh.clear()
        self._unkept.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._reconcile_forever)
            task_status.started()
            while True:
                self._wake = trio.Event()
                await self._keep()
                self._spread()
                await self._sweep(nursery)
                with trio.move_on_after(SWEEP_S):
                    await self._wake.wait()

    def _on_entry(self, entry: Entry) -> None:
        if len(self._unkept) < UNKEPT_MAX:
            self._unkept[entry.key] = entry.sealed
        self._fresh.append((entry, self._bringer))
        self._wake.set()

    async def _keep(self) -> None:
        """Persist before anything is told; a full disk delays only that it outlives a restart."""
        waiting = dict(self._unkept)
        if waiting and await self._store.keep(waiting):
            for key in waiting:
                self._unkept.pop(key, None)
        uses, removals = self.register.uses, self.register.removals
        uses.forget(self._wall_ms())
        old = [*uses.dropped, *removals.dropped]
        uses.dropped, removals.dropped = [], []
        for key in old:
            self._unkept.pop(key, None)  # or a disk with room again would keep it for good
        if old:
            await self._store.forget(old)

    def _spread(self) -> None:
        fresh, self._fresh = self._fresh, []
        for entry, bringer in fresh:
            could = [peer for peer in self._host.peers() if peer != bringer]
            for peer in self._rng.sample(could, min(FANOUT, len(could))):
                self._rpc.cast(peer, Entries((entry.sealed,)))

    async def _sweep(self, nursery: trio.Nursery) -> None:
        out = self.book.removed()
        if out is not self._out and dict(out) != dict(self._out):
            self._out = out
            for listener in self._listeners:
                listener(out)
        gone = {**self.book.lapsed(self._wall_ms()), **out}
        for peer in self._host.peers():
            if peer in gone:
                if peer not in out:
                    self.on_lapsed(peer, gone[peer])
                nursery.start_soon(self._host.disconnect, peer, gone[peer])
        await trio.lowlevel.checkpoint()

    # -- comparing

    def _keys(self) -> list[bytes]:
        return sorted([*self.register.removals.keys(), *self.register.uses.keys()])

    async def _reconcile_forever(self) -> None:
        while True:
            await trio.sleep(RECONCILE_S * self._rng.uniform(0.8, 1.2))
            peers = self._host.peers()
            if peers:
                self._rpc.cast(self._rng.choice(peers), Held(digest_of(self._keys())))

    def _on_peer(self, peer: PeerId, is_up: bool) -> None:
        if is_up:
            self._rpc.cast(peer, Held(digest_of(self._keys())))

    def _has_turn(self, buckets: Buckets, peer: PeerId) -> bool:
        """Whether a peer may compare now: few bytes of a question make many of an answer."""
        has_turn = buckets.take(peer, 1, trio.current_time()) == 1
        self.throttled += not has_turn
        return has_turn

    def _on_held(self, caller: Caller, message: Held) -> None:
        if not self._has_turn(self._compared, caller.peer):
            return
        keys = self._keys()
        if message.digest != digest_of(keys):
            self._rpc.cast(caller.peer, RegisterKeys(b"".join(keys)))

    def _on_keys(self, caller: Caller, message: RegisterKeys) -> None:
        if len(message.keys) % KEY_BYTES or len(message.keys) > _KEYS_BYTES_MAX:
            return
        if not self._has_turn(self._answered, caller.peer):
            return
        step = range(0, len(message.keys), KEY_BYTES)
        theirs = {message.keys[at : at + KEY_BYTES] for at in step}
        ours = self._keys()
        self._send_entries(caller.peer, [key for key in ours if key not in theirs])
        if not message.is_answer:
            self._rpc.cast(caller.peer, RegisterKeys(b"".join(ours), is_answer=True))

    def _send_entries(self, peer: PeerId, keys: list[bytes]) -> None:
        batch: list[Signed] = []
        size = sent = 0
        for key in keys:
            entry = self.register.find(key)
            if entry is None:
                continue
            entry_bytes = len(encode(entry.sealed))
            is_full = len(batch) >= ENTRIES_PER_MESSAGE_MAX
            if batch and (is_full or size + entry_bytes > ENTRIES_BYTES_MAX):
                self._rpc.cast(peer, Entries(tuple(batch)))
                batch, size, sent = [], 0, sent + 1
                if sent >= ANSWER_MESSAGES_MAX:
                    return
            batch.append(entry.sealed)
            size += entry_bytes
        if batch:
            self._rpc.cast(peer, Entries(tuple(batch)))

    def _on_entries(self, caller: Caller, message: Entries) -> None:
        now_s, refused = trio.current_time(), self.register.refused
        self._bringer = caller.peer
        for sealed in message.entries:
            if not self._buckets.take(caller.peer, 1, now_s):
                self.throttled += 1
                continue
            self.register.take(sealed, self._wall_ms())
        self._bringer = None
        if self.register.refused > refused:
            self._buckets.charge(caller.peer, FORGERY_COST, now_s)
