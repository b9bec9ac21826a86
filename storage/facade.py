"""What the rest of the node may ask of storage: objects and mutable names.

ObjectService (storage/objects) and NameService (storage/records/names) satisfy these.
Rights, capabilities, ids, errors and bounds beside it are for everybody, too.
"""

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Final, Protocol

import msgspec

from p2p.ids import LabId, PeerId, PersonId
from p2p.wire.envelope import Signed, Signer
from storage.ids import Address, ObjectKey
from storage.rights import Right, named_in


class Durability(StrEnum):
    """What a put waits for: the receipt promised by the pool size, a quorum, or this disk."""

    DURABLE = "durable"
    QUORUM = "quorum"
    LOCAL = "local"


class ReadCap(msgspec.Struct, frozen=True):
    """The right to read one object; as text `swarm:` + base32(address + key)."""

    address: Address
    key: ObjectKey


class ObjectKind(StrEnum):
    """What a task makes of an object."""

    NONE = ""
    INPUT = "input"
    OUTPUT = "output"
    CHECKPOINT = "checkpoint"
    LOG = "log"
    """Logs of tasks that have ended, of one or of several."""
    KEYRING = "keyring"
    """The copy of a keyring: it is in no copy itself."""
    PACK = "pack"
    """Contents of files that folders need: it goes with the last of them."""


class Mark(msgspec.Struct, frozen=True):
    """What an object is for, in the keyring."""

    kind: str = ObjectKind.NONE
    """An ObjectKind; a newer node may have written others."""
    task: str = ""
    person: str = ""
    """Whose it is, of several people of one machine; empty for the machine's owner."""


PLAIN: Final = Mark()


class StandsFor(msgspec.Struct, frozen=True):
    """What an object stands for where that is more than its own bytes, such as a folder."""

    digest: bytes
    """By what the same thing is found again (`Objects.same`)."""
    size: int = 0
    """Bytes of all of it; 0: of the object alone."""
    needs: tuple[Address, ...] = ()
    """Packs of ours that it cannot be read without."""


class Trust(msgspec.Struct, frozen=True):
    """Put for somebody else: the bytes are theirs from the first moment."""

    owner: PersonId
    lab: LabId
    right: Right


def trust_of(right: Right | None) -> Trust | None:
    """For whom a right lets us put; None without one. Raises WireError when it is malformed."""
    if right is None:
        return None
    link = named_in(right)
    return Trust(link.owner, link.lab, right)


class PutReceipt(msgspec.Struct, frozen=True):
    """What a put achieved, in numbers and in words."""

    cap: ReadCap
    size: int
    k: int
    n: int
    holders: tuple[PeerId, ...]
    """Peers whose signed receipts came before this returned."""
    survives: str
    """For people: `any 1 machine`, `any 5 machines`, `nothing: stored on this machine only`."""
    one_site: bool
    seconds: float
    one_person: bool = False
    """All holders are machines of one person who does not own it."""


class ObjectHealth(StrEnum):
    """How an object stands, the better first."""

    WHOLE = "whole"
    DEGRADED = "degraded"
    """It can be read, but fewer shards can be had than the pool as it is now could hold."""
    UNREADABLE = "unreadable"
    """Fewer than k shards of a segment can be reached now."""
    REMOVED = "removed"
    """The lab's key has removed it."""


class ObjectStat(msgspec.Struct, frozen=True):
    """How an object stands now."""

    address: Address
    name: str
    size: int
    k: int
    n: int
    segments: int
    shards_live: int
    """Fewest live shards over its segments."""
    survives: str
    holders: tuple[tuple[int, int, PeerId, bool], ...]
    """(segment, shard, holder, whether it says that it has it)"""
    expires_ms: int
    health: ObjectHealth = ObjectHealth.WHOLE


class Forgotten(msgspec.Struct, frozen=True):
    """What giving an object up has come to. It is written down and goes on until all have heard."""

    holders: tuple[PeerId, ...]
    """Machines that may have had something of it."""
    waiting: tuple[PeerId, ...]
    """Those of them that could not be told yet: away, frozen or too full to write."""


class Gone(msgspec.Struct, frozen=True):
    """An object that its owner gave up on this machine."""

    name: str
    at_ms: int
    """Wall clock."""
    person: str = ""
    """Whose it was, of several people of one machine."""


class ObjectEntry(msgspec.Struct, frozen=True):
    """A line of `obj ls`: objects this owner put, from the keyring."""

    cap: ReadCap
    name: str
    size: int
    put_ms: int
    mark: Mark = PLAIN
    until_ms: int = 0
    """When its leases end unless they are renewed."""
    digest: bytes = b""
    """BLAKE3 of the plaintext, where it was put here."""
    stored: int = 0
    """Bytes on all its holders together when it was put; 0 where nobody counted."""
    removed_ms: int = 0
    """When the lab's key removed it; 0 for all that is kept."""
    removed_why: str = ""
    needs: tuple[Address, ...] = ()
    """Packs that it cannot be read without; `size` is of all of it."""


class PackHold(Protocol):
    """What a put that is not done yet counts on."""

    def take(self, address: Address, *, after_ms: int = -1) -> bool:
        """Keep a pack meanwhile; False unless it was put here after that (wall clock), and stays.

        One that came with a copy of a keyring was not: the machine it came from may free it.
        """
        ...


class Unfinished(msgspec.Struct, frozen=True):
    """A put under way, or one that ended badly a moment ago: its bytes are held already."""

    name: str
    size: int
    """Plaintext taken in so far."""
    mark: Mark


class Objects(Protocol):
    """StandsFor objects in and out of the pool."""

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
        """Encrypt, code and spread a byte stream of any length.

        With `trust` it is somebody else's: entrusted to us until it is handed over or forgotten.
        With `stands_for` it stands for more than its bytes; what it needs is held meanwhile.
        Raises TooFewPeersError, StoreFullError; nothing is visible when it raises.
        """
        ...

    def holding(self) -> AbstractContextManager[PackHold]:
        """While it is open what was taken stays; then such packs go as no object needs."""
        ...

    def get(
        self, cap: ReadCap, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """Stream verified plaintext in order.

        Raises ObjectUnknownError, ObjectDegradedError (fewer than k shards can be had).
        """
        ...

    async def size(self, address: Address) -> int:
        """Bytes of the plaintext. Raises ObjectUnknownError, ManifestError."""
        ...

    async def stat(self, address: Address, *, ask: bool = True) -> ObjectStat:
        """How an object stands now, as its holders say; without `ask` as far as is known here.

        One of ours that needs others stands as the weakest of them.
        Raises ObjectUnknownError.
        """
        ...

    def entries(self) -> Sequence[ObjectEntry]:
        """The keyring, the oldest object first."""
        ...

    def entrusted(self) -> Sequence[ObjectEntry]:
        """What was put here for others and not handed over yet, the oldest first."""
        ...

    def same(self, digest: bytes) -> Sequence[ObjectEntry]:
        """Objects of the keyring with that BLAKE3 of their plaintext."""
        ...

    def removed(self, address: Address) -> Gone | None:
        """What was given up here under that address, as far as is remembered."""
        ...

    def unfinished(self) -> Sequence[Unfinished]:
        """Puts under way."""
        ...

    async def adopt(self, cap: ReadCap, name: str, mark: Mark) -> bool:
        """Take what a machine put in our name onto our keyring; False when it is not ours.

        Raises ObjectUnknownError, ManifestError, StoreFullError.
        """
        ...

    async def hand_over(self, address: Address) -> None:
        """Its owner has it: forget what was entrusted, and leave its leases. StoreFullError."""
        ...

    async def leave(self, address: Address) -> None:
        """Another machine of its owner has it: off this keyring; leases stay. StoreFullError."""
        ...

    async def forget(self, address: Address) -> Forgotten | None:
        """Give up our leases; holders free the space, those that are away when they are back.

        None when it is neither ours nor entrusted. Raises StoreFullError: a disk that is quite
        full, the room set aside included, cannot even forget.
        """
        ...

    async def remove(
        self, address: Address, *, lab_key: Signer | None = None, reason: str = ""
    ) -> Forgotten | None:
        """Give up what another machine of our owner put, or by the lab's key anybody of that lab.

        Who put it is told of it. None when it is neither our owner's own (what another person of
        their machine put is that person's) nor of that lab. Raises
        ObjectUnknownError, ManifestError, StoreFullError.
        """
        ...


class NameValue(msgspec.Struct, frozen=True):
    """The newest value of a mutable name."""

    sequence: int
    fence: int
    value: bytes


class OwnedNames(Protocol):
    """Small mutable values of one owner, linearizable for one fenced writer.

    Any member may read them and sees their names: what is secret is to be encrypted first.
    """

    @property
    def owner(self) -> PeerId:
        """The id of the key they belong to."""
        ...

    async def read(self, name: str) -> NameValue | None:
        """The newest value a majority of holders knows. Raises TooFewPeersError."""
        ...

    async def write(self, name: str, value: bytes, *, expected: int, fence: int) -> NameValue:
        """Compare-and-set: accepted only when the known sequence is `expected` (0 = none yet).

        Raises NameConflictError (carries the present value), StaleFenceError, TooFewPeersError;
        PermissionError where they are only to be read.
        """
        ...


class NameStore(Protocol):
    """Mutable names: each belongs to a key, and only who has it may write (docs/protocol.md)."""

    def machine(self) -> OwnedNames:
        """Names of this machine, signed by its key."""
        ...

    def person(self, key: Signer) -> OwnedNames:
        """Names of a person, signed by that person's key, on whichever machine."""
        ...

    def task(self, key: Signer) -> OwnedNames:
        """Names of a task, for whoever has the task's key: its submitter and guardians."""
        ...

    def attempt(self, grant: Signed) -> OwnedNames:
        """Names of a task, for the machine and fence of a grant that its key signed.

        Raises WireError for what is no grant.
        """
        ...

    def of(self, owner: str) -> OwnedNames:
        """Names of any key, to be read only."""
        ...
