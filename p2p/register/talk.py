"""What two nodes say to each other of their registers: fresh entries, and what one of them lacks.

    Held (digest) -> RegisterKeys -> RegisterKeys (answer) and Entries, to and fro

Few bytes of a question make many of an answer, so each peer may ask only now and then.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

import trio

from p2p.buckets import Buckets
from p2p.effects import Rng
from p2p.host.port import Host
from p2p.host.rpc.service import Rpc
from p2p.identity.caller import Caller
from p2p.identity.register.records import KEY_BYTES, digest_of
from p2p.identity.register.register import Entry, Register
from p2p.ids import PeerId
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
)
from p2p.register.messages import Entries, Held, RegisterKeys
from p2p.wire.codec import encode
from p2p.wire.envelope import Signed

_KEYS_BYTES_MAX: Final = (REMOVALS_MAX + USES_MAX) * KEY_BYTES


class RegisterTalk:
    """Our side of it, with every peer."""

    def __init__(
        self, register: Register, rpc: Rpc, host: Host, rng: Rng, wall_ms: Callable[[], int]
    ) -> None:
        self._register, self._rpc, self._host = register, rpc, host
        self._rng, self._wall_ms = rng, wall_ms
        self._brought = Buckets(ENTRIES_BURST, ENTRIES_PER_S)
        """How many entries each peer may still bring."""
        self._compared = Buckets(COMPARED_BURST, COMPARED_PER_S)
        """How often each may still compare digests with us."""
        self._answered = Buckets(COMPARED_BURST, COMPARED_PER_S)
        """How often each may still show its keys."""
        self._bringer: PeerId | None = None
        """Whose entries are being taken just now; None: our own."""
        self._fresh: list[tuple[Entry, PeerId | None]] = []
        """Entries to be spread, and who brought each (None: we): it need not hear of it."""
        self.throttled = 0
        """Entries and comparisons dropped because a peer brought too many."""
        register.listeners.append(self._on_entry)
        rpc.listen(Held, self._on_held)
        rpc.listen(RegisterKeys, self._on_keys)
        rpc.listen(Entries, self._on_entries)
        rpc.on_peer(self._on_peer)

    # -- fresh entries

    def spread(self) -> None:
        """Tell a few peers of each entry that came since the last time."""
        fresh, self._fresh = self._fresh, []
        for entry, bringer in fresh:
            could = [peer for peer in self._host.peers() if peer != bringer]
            for peer in self._rng.sample(could, min(FANOUT, len(could))):
                self._rpc.cast(peer, Entries((entry.sealed,)))

    def forget_fresh(self) -> None:
        """What came so far is nothing new to anybody: it was read from the disk."""
        self._fresh.clear()

    def _on_entry(self, entry: Entry) -> None:
        self._fresh.append((entry, self._bringer))

    def _on_entries(self, caller: Caller, message: Entries) -> None:
        now_s, refused = trio.current_time(), self._register.refused
        self._bringer = caller.peer
        for sealed in message.entries:
            if not self._brought.take(caller.peer, 1, now_s):
                self.throttled += 1
                continue
            self._register.take(sealed, self._wall_ms())
        self._bringer = None
        if self._register.refused > refused:
            self._brought.charge(caller.peer, FORGERY_COST, now_s)

    # -- comparing

    async def compare_forever(self) -> None:
        """Now and then tell a peer what we have."""
        while True:
            await trio.sleep(RECONCILE_S * self._rng.uniform(0.8, 1.2))
            peers = self._host.peers()
            if peers:
                self._rpc.cast(self._rng.choice(peers), Held(digest_of(self._keys())))

    def _on_peer(self, peer: PeerId, is_up: bool) -> None:
        if is_up:
            self._rpc.cast(peer, Held(digest_of(self._keys())))

    def _keys(self) -> list[bytes]:
        return sorted([*self._register.removals.keys(), *self._register.uses.keys()])

    def _has_turn(self, buckets: Buckets, peer: PeerId) -> bool:
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
        """As many of them as an answer may have."""
        entries = (self._register.find(key) for key in keys)
        sealed = (entry.sealed for entry in entries if entry is not None)
        for batch in islice(_batches(sealed), ANSWER_MESSAGES_MAX):
            self._rpc.cast(peer, Entries(batch))


def _batches(entries: Iterable[Signed]) -> Iterator[tuple[Signed, ...]]:
    """As many at once as a message holds."""
    batch: list[Signed] = []
    size = 0
    for sealed in entries:
        entry_bytes = len(encode(sealed))
        is_full = len(batch) >= ENTRIES_PER_MESSAGE_MAX
        if batch and (is_full or size + entry_bytes > ENTRIES_BYTES_MAX):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(sealed)
        size += entry_bytes
    if batch:
        yield tuple(batch)
