"""Where a machine notes its newest copy, and learns that it was thought gone.

A machine with its person's key changes its line of the list under the person's name. One that was
joined by `invite --own-machine` has no such key: it writes under a name of its own, sealed for the
person, and who takes it over says so under the person's name.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from p2p.errors import WireError
from p2p.ids import PeerId
from p2p.wire.codec import Record, decode_as, encode
from storage.errors import NameConflictError
from storage.facade import OwnedNames
from swarmnode.errors import SnapshotError
from swarmnode.recovery.copies.pointers import Pointer, Taken, check_room, taken_from, with_copy
from swarmnode.recovery.copies.shelf import TRIES, CopyShelf

OWN_NAME: Final = "keyring"
"""Of a machine: where its copy is."""


class Place(Protocol):
    """Of one machine."""

    async def taken(self) -> Taken | None:
        """Who has this machine's things. Raises StorageError, SnapshotError (no room)."""
        ...

    async def point(self, cap: str, known: Taken | None) -> None:
        """The newest copy is there; `known` is what `taken` said before it was made.

        Raises StorageError, SnapshotError.
        """
        ...


class LineOfList:
    """The place of a machine that has its person's key."""

    def __init__(self, shelf: CopyShelf, me: PeerId, siblings: Callable[[], list[PeerId]]) -> None:
        """`siblings`: other machines of the person, for who looks for their copies one day."""
        self._shelf, self._me, self._siblings = shelf, me, siblings

    async def taken(self) -> Taken | None:
        """See Place."""
        copies = await self._shelf.read()
        check_room(copies, self._me)
        return taken_from(copies, self._me)

    async def point(self, cap: str, known: Taken | None) -> None:
        """See Place."""
        mine, siblings = Pointer(cap, self._me), self._siblings()
        await self._shelf.change(lambda now: with_copy(now, mine, known, siblings))


class Apart(Record, frozen=True):
    """What lies, sealed for the person, at the place of a machine without their key."""

    cap: str
    writer: PeerId
    token: bytes = b""
    """That the writer is a machine of the person: anybody can seal something for them."""


class NameOfItsOwn:
    """The place of a machine without its person's key."""

    def __init__(
        self,
        own: OwnedNames,
        persons: OwnedNames,
        me: PeerId,
        seal: Callable[[bytes], bytes],
        token: Callable[[], bytes],
    ) -> None:
        """Names of the machine, and of its person, which are only read."""
        self._own, self._persons, self._me = own, persons, me
        self._seal, self._token = seal, token

    async def taken(self) -> Taken | None:
        """See Place."""
        known = await self._persons.read(name_of_taken(self._me))
        if known is None:
            return None
        try:
            return decode_as(Taken, known.value)
        except WireError as exc:
            raise SnapshotError("another machine of yours wrote what is not understood") from exc

    async def point(self, cap: str, known: Taken | None) -> None:
        """See Place."""
        if await self.taken() != known:
            raise SnapshotError("another machine of yours has just taken over what was here")
        before = await self._own.read(OWN_NAME)
        sequence = 0 if before is None else before.sequence
        value = self._seal(encode(Apart(cap, self._me, self._token())))
        await self._own.write(OWN_NAME, value, expected=sequence, fence=0)  # nobody else writes it


def name_of_taken(peer: PeerId) -> str:
    """Under the person's key: who took over a machine without it."""
    return f"taken/{peer}"


async def tell_taken(persons: OwnedNames, taken: Taken) -> None:
    """Let a machine without the key know, should it return. Raises StorageError."""
    name, value = name_of_taken(taken.writer), encode(taken)
    for _ in range(TRIES):
        before = await persons.read(name)
        if before is not None and before.value == value:
            return
        with suppress(NameConflictError):
            await persons.write(name, value, expected=before.sequence if before else 0, fence=0)
            return
    raise SnapshotError(f"{taken.writer} cannot be told that it was taken over")
