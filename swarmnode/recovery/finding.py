"""Which copies there are, whose machines live, and what waits for somebody to take it over."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
import trio

from p2p.errors import WireError
from p2p.ids import PeerId
from p2p.wire.codec import decode_as
from storage.facade import OwnedNames
from swarmnode.errors import SnapshotError
from swarmnode.home.membership_end import date
from swarmnode.limits import MACHINES_PER_PERSON_MAX
from swarmnode.recovery.copies.place import OWN_NAME, Apart
from swarmnode.recovery.copies.pointers import KeyringCopies, Pointer, Taken, is_taken
from swarmnode.recovery.copies.shelf import CopyShelf
from swarmnode.recovery.others import MachineLife
from swarmnode.recovery.siblings import Siblings

log = logging.getLogger("swarm.recovery")


class Sight(msgspec.Struct, frozen=True):
    """What one look at the copies of a person found."""

    copies: KeyringCopies
    apart: tuple[Pointer, ...]
    """Of machines without the person's key, which nobody took over."""
    lives: Mapping[PeerId, MachineLife]
    """Of all other machines that have a copy."""

    def gone(self) -> list[PeerId]:
        """Machines that are gone and have a copy, each once."""
        return [peer for peer, life in self.lives.items() if life is MachineLife.GONE]


class Finder:
    """Looks for the copies of a person, whose key is here."""

    def __init__(
        self,
        shelf: CopyShelf,
        names_of: Callable[[str], OwnedNames],
        unseal: Callable[[bytes], bytes],
        siblings: Siblings,
        life: Callable[[PeerId], Awaitable[MachineLife]],
        me: PeerId,
    ) -> None:
        self._shelf, self._names_of, self._unseal = shelf, names_of, unseal
        self._siblings, self._life, self._me = siblings, life, me

    async def look(self) -> Sight:
        """Raises StorageError, SnapshotError."""
        copies = await self._shelf.read()
        apart = await self._apart(copies)
        writers = {
            pointer.writer: None
            for pointer in (*copies.pointers, *apart)
            if pointer.writer != self._me
        }
        lives: dict[PeerId, MachineLife] = dict.fromkeys(writers, MachineLife.UNSURE)

        async def see(peer: PeerId) -> None:
            lives[peer] = await self._life(peer)

        async with trio.open_nursery() as nursery:
            for peer in writers:
                nursery.start_soon(see, peer)
        return Sight(copies, tuple(apart), lives)

    async def _apart(self, copies: KeyringCopies) -> list[Pointer]:
        """Copies of machines that keep their own place.

        Who is named as such a machine and does not prove it is passed over: that may be anybody.
        """
        listed = {copy.writer for copy in copies.pointers}
        seen = (*self._siblings.seen(), *copies.siblings)  # first: nobody can make these up
        peers = dict.fromkeys((*seen, *self._siblings.told()))
        apart = []
        for peer in list(peers)[: 4 * MACHINES_PER_PERSON_MAX]:
            if peer in listed or peer == self._me:
                continue
            known = await self._names_of(peer).read(OWN_NAME)
            if known is None:
                continue
            try:
                left = decode_as(Apart, self._unseal(known.value))
            except (SnapshotError, WireError) as exc:
                log.debug("%s has left nothing that can be read: %s", peer, exc)
                continue
            pointer = Pointer(left.cap, peer)
            is_proved = left.writer == peer and self._siblings.is_proved(peer, left.token)
            if is_proved and not is_taken(copies, pointer):
                apart.append(pointer)
        return apart


def notes_of(gone: Sequence[PeerId], names: Mapping[PeerId, str]) -> tuple[str, ...]:
    """What `status` says of copies that wait."""
    return tuple(
        f"your machine {names.get(peer) or peer} is off or gone: if it does not come back, "
        "`swarmnode recover` in a blank SWARM_HOME takes over what was put there"
        for peer in gone
    )


def returned_note(taken: Taken, names: Mapping[PeerId, str]) -> str:
    """What `status` says on a machine that was thought gone."""
    name = names.get(taken.by) or taken.by
    return (
        f"this machine was thought gone: on {date(taken.at_ms)} your machine {name} took over what "
        "was here. Its tasks go on there (task show, logs, cancel and rm reach them from here, by "
        "id or name); what is put here since then stays here"
    )
