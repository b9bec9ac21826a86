"""Objects and names in memory, for tests of what is built on storage and not of storage.

One Pool is the world; every node has its own MemoryObjects on it and all see the same bytes.
"""

import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import trio
from blake3 import blake3

from p2p.errors import WireError
from p2p.ids import PeerId
from p2p.wire.codec import decode_as
from p2p.wire.envelope import Signed, Signer
from storage.errors import (
    NameConflictError,
    ObjectUnknownError,
    StaleFenceError,
    TooFewPeersError,
)
from storage.facade import (
    PLAIN,
    Durability,
    Forgotten,
    Gone,
    Mark,
    NameValue,
    ObjectEntry,
    ObjectStat,
    OwnedNames,
    PackHold,
    PutReceipt,
    ReadCap,
    StandsFor,
    Trust,
    Unfinished,
)
from storage.ids import Address, ObjectKey
from storage.records.names.messages import NameGrant

PIECE_BYTES = 64 * 1024


class Pool:
    """Bytes by address and values by name; `is_down` makes everything fail as a lost pool does."""

    def __init__(self) -> None:
        self.objects: dict[Address, bytes] = {}
        self.names: dict[tuple[PeerId, str], NameValue] = {}
        self.is_down = False
        self.seconds_per_put = 0.0

    def check(self) -> None:
        """Raises TooFewPeersError while the pool is down."""
        if self.is_down:
            raise TooFewPeersError(1, 3, "wait for machines to come back")


class _Held:
    def __init__(self, entries: Mapping[Address, ObjectEntry]) -> None:
        self._entries = entries

    def take(self, address: Address, *, after_ms: int = -1) -> bool:
        """Whether it is here."""
        entry = self._entries.get(address)
        return entry is not None and entry.put_ms > after_ms


class MemoryObjects:
    """Satisfies storage.facade.Objects. Equal bytes put twice are two objects, as with keys."""

    def __init__(self, pool: Pool, me: PeerId, wall_ms: Callable[[], int] = lambda: 0) -> None:
        self._pool = pool
        self._me = me
        self._wall_ms = wall_ms
        self._entries: dict[Address, ObjectEntry] = {}
        self._entrusted: dict[Address, ObjectEntry] = {}
        self._removed: dict[Address, Gone] = {}
        self._count = 0

    async def put(
        self,
        source: AsyncIterable[bytes],
        *,
        name: str = "",
        durability: Durability = Durability.DURABLE,
        mark: Mark = PLAIN,
        trust: Trust | None = None,
        stands_for: StandsFor | None = None,
    ) -> PutReceipt:
        """Keep the whole stream."""
        data = b"".join([piece async for piece in source])
        await trio.sleep(self._pool.seconds_per_put)
        self._pool.check()
        return self._keep(data, name, mark, trust, stands_for)

    def _keep(
        self,
        data: bytes,
        name: str,
        mark: Mark,
        trust: Trust | None,
        stands_for: StandsFor | None = None,
    ) -> PutReceipt:
        stands_for = stands_for or StandsFor(blake3(data).digest())
        self._count += 1
        address = Address(hashlib.sha256(f"{self._me}/{self._count}".encode() + data).digest())
        cap = ReadCap(address, ObjectKey(hashlib.sha256(b"key" + address).digest()))
        self._pool.objects[address] = data
        book = self._entries if trust is None else self._entrusted
        book[address] = ObjectEntry(
            cap, name, stands_for.size or len(data), self._wall_ms(), mark, 0,
            stands_for.digest, len(data), needs=stands_for.needs,
        )  # fmt: skip
        return PutReceipt(cap, len(data), 1, 1, (self._me,), "any 1 machine", False, 0.0)

    @contextmanager
    def holding(self) -> Iterator[PackHold]:
        """Nothing goes by itself here; packs that nothing needs stay until they are forgotten."""
        yield _Held(self._entries)

    async def get(
        self, cap: ReadCap, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """The bytes in pieces."""
        if start < 0 or (length is not None and length < 0):  # as the real one
            raise ValueError(f"a range of {length} bytes from {start}")
        await trio.lowlevel.checkpoint()
        self._pool.check()
        data = self._pool.objects.get(cap.address)
        if data is None:
            raise ObjectUnknownError(f"nobody holds {cap.address.hex()[:16]}")
        data = data[start:] if length is None else data[start : start + length]
        for at in range(0, len(data), PIECE_BYTES):
            await trio.lowlevel.checkpoint()
            yield data[at : at + PIECE_BYTES]

    async def size(self, address: Address) -> int:
        """Of the bytes."""
        await trio.lowlevel.checkpoint()
        self._pool.check()
        if address not in self._pool.objects:
            raise ObjectUnknownError("no such object")
        return len(self._pool.objects[address])

    async def stat(self, address: Address, *, ask: bool = True) -> ObjectStat:
        """One healthy segment."""
        await trio.lowlevel.checkpoint()
        data = self._pool.objects.get(address)
        if data is None:
            raise ObjectUnknownError(f"nobody holds {address.hex()[:16]}")
        holders = ((0, 0, self._me, True),)
        own = self._entries.get(address)
        name = "" if own is None else own.name
        return ObjectStat(address, name, len(data), 1, 1, 1, 1, "any 1 machine", holders, 0)

    def entries(self) -> Sequence[ObjectEntry]:
        """What was put here and not forgotten, oldest first."""
        return tuple(self._entries.values())

    async def leave(self, address: Address) -> None:
        """The pool keeps it."""
        await trio.lowlevel.checkpoint()
        self._entries.pop(address, None)

    async def forget(self, address: Address) -> Forgotten | None:
        """Nobody else keeps it here, so the bytes go at once."""
        await trio.lowlevel.checkpoint()
        entries = [book.pop(address, None) for book in (self._entries, self._entrusted)]
        if not any(entries):
            return None
        self._pool.objects.pop(address, None)
        if (ours := entries[0]) is not None:
            self._removed[address] = Gone(ours.name, self._wall_ms(), ours.mark.person)
        return Forgotten((self._me,), ())

    def removed(self, address: Address) -> Gone | None:
        """What was forgotten here."""
        return self._removed.get(address)

    async def remove(
        self, address: Address, *, lab_key: Signer | None = None, reason: str = ""
    ) -> Forgotten | None:
        """Nothing says whose the others' are."""
        await trio.lowlevel.checkpoint()
        raise ObjectUnknownError(f"nobody holds {address.hex()[:16]}")

    def entrusted(self) -> Sequence[ObjectEntry]:
        """What was put here for others, oldest first."""
        return tuple(self._entrusted.values())

    def same(self, digest: bytes) -> Sequence[ObjectEntry]:
        """Those with that plaintext."""
        return [entry for entry in self._entries.values() if entry.digest == digest]

    def unfinished(self) -> Sequence[Unfinished]:
        """A put is done at once here."""
        return ()

    async def adopt(self, cap: ReadCap, name: str, mark: Mark) -> bool:
        """Everything that is there may be had."""
        await trio.lowlevel.checkpoint()
        self._pool.check()
        data = self._pool.objects.get(cap.address)
        if data is None:
            raise ObjectUnknownError(f"nobody holds {cap.address.hex()[:16]}")
        entry = ObjectEntry(cap, name, len(data), self._wall_ms(), mark)
        self._entries.setdefault(cap.address, entry)
        return True

    async def hand_over(self, address: Address) -> None:
        """Its owner has it."""
        await trio.lowlevel.checkpoint()
        self._entrusted.pop(address, None)


class MemoryNames:
    """Satisfies storage.facade.Names."""

    def __init__(self, pool: Pool, me: PeerId) -> None:
        self._pool, self._me = pool, me

    def machine(self) -> OwnedNames:
        """Of this machine."""
        return MemoryOwnedNames(self._pool, self._me)

    def person(self, key: Signer) -> OwnedNames:
        """Of a person."""
        return MemoryOwnedNames(self._pool, key.peer_id)

    def task(self, key: Signer) -> OwnedNames:
        """Of a task."""
        return MemoryOwnedNames(self._pool, key.peer_id)

    def attempt(self, grant: Signed) -> OwnedNames:
        """Of a task, under one fence."""
        granted = decode_as(NameGrant, grant.payload)
        if granted.machine != self._me:
            raise WireError(f"that grant is for {granted.machine}")
        return MemoryOwnedNames(self._pool, grant.sender, granted.fence)

    def of(self, owner: str) -> OwnedNames:
        """To be read only."""
        return MemoryOwnedNames(self._pool, PeerId(owner), may_write=False)


class MemoryOwnedNames:
    """Satisfies storage.facade.OwnedNames."""

    def __init__(
        self, pool: Pool, owner: PeerId, fence: int | None = None, *, may_write: bool = True
    ) -> None:
        self._pool, self._owner = pool, owner
        self._fence, self._may_write = fence, may_write

    @property
    def owner(self) -> PeerId:
        """Whose they are."""
        return self._owner

    async def read(self, name: str) -> NameValue | None:
        """The newest value."""
        await trio.lowlevel.checkpoint()
        self._pool.check()
        return self._pool.names.get((self._owner, name))

    async def write(self, name: str, value: bytes, *, expected: int, fence: int) -> NameValue:
        """Compare-and-set on the sequence; an older fence never writes."""
        await trio.lowlevel.checkpoint()
        self._pool.check()
        if not self._may_write:
            raise PermissionError(f"the names of {self._owner} can be read here, not written")
        if self._fence not in (None, fence):
            raise ValueError(f"these names may be written under fence {self._fence} only")
        held = self._pool.names.get((self._owner, name)) or NameValue(0, 0, b"")
        if fence < held.fence:
            raise StaleFenceError(f"{name} is owned by fence {held.fence}, this is {fence}")
        if held.sequence != expected:
            raise NameConflictError(name, held.sequence, held.value)
        written = self._pool.names[self._owner, name] = NameValue(expected + 1, fence, value)
        return written
