"""Which copies there are, whose machines live, and what waits for somebody to take it over."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import trio

from p2p.errors import WireError
from p2p.ids import PeerId
from p2p.wire.codec import decode_as
from storage.facade import OwnedNames
from swarmnode.errors import SnapshotError
from swarmnode.limits import MACHINES_PER_PERSON_MAX
from swarmnode.recovery.copies import Copies, Pointer, is_taken
from swarmnode.recovery.others import Life
from swarmnode.recovery.place import OWN_NAME
from swarmnode.recovery.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look at the copies of a person found."""

    copies: Copies
    apart: tuple[Pointer, ...]
    """Of machines without the person's key, which nobody took over."""
    lives: Mapping[PeerId, Life]
    """Of all other machines that have a copy."""
    troubles: tuple[str, ...]

    def gone(self) -> list[PeerId]:
        """Machines that are gone and have a copy, each once."""
        return [peer for peer, life in self.lives.items() if life is Life.GONE]


class Finder:
    """Looks for the copies of a person, whose key is here."""

    def __init__(
        self,
        shelf: Shelf,
        names_of: Callable[[str], OwnedNames],
        unseal: Callable[[bytes], bytes],
        siblings: Callable[[], list[PeerId]],
        life: Callable[[PeerId], Awaitable[Life]],
        me: PeerId,
    ) -> None:
        self._shelf, self._names_of, self._unseal = shelf, names_of, unseal
        self._siblings, self._life, self._me = siblings, life, me

    async def look(self) -> Sight:
        """Raises StorageError, SnapshotError."""
        copies = await self._shelf.read()
        apart, troubles = await self._apart(copies)
        writers = {one.writer: None for one in (*copies.pointers, *apart) if one.writer != self._me}
        lives: dict[PeerId, Life] = dict.fromkeys(writers, Life.UNSURE)

        async def see(peer: PeerId) -> None:
            lives[peer] = await self._life(peer)

        async with trio.open_nursery() as nursery:
            for peer in writers:
                nursery.start_soon(see, peer)
        return Sight(copies, tuple(apart), lives, tuple(troubles))

    async def _apart(self, copies: Copies) -> tuple[list[Pointer], list[str]]:
        """Copies of machines that keep their own place, and what stands in the way of some."""
        listed = {one.writer for one in copies.pointers}
        peers = dict.fromkeys((*self._siblings(), *copies.siblings))
        found, troubles = [], []
        for peer in list(peers)[: 2 * MACHINES_PER_PERSON_MAX]:
            if peer in listed or peer == self._me:
                continue
            known = await self._names_of(peer).read(OWN_NAME)
            if known is None:
                continue
            try:
                pointer = decode_as(Pointer, self._unseal(known.value))
            except (SnapshotError, WireError) as exc:
                troubles.append(f"the copy of {peer} cannot be read: {exc}")
                continue
            if pointer.writer == peer and not is_taken(copies, pointer):
                found.append(pointer)
        return found, troubles


def notes_of(gone: Sequence[PeerId], names: Mapping[PeerId, str]) -> tuple[str, ...]:
    """What `status` says of copies that wait."""
    return tuple(
        f"your machine {names.get(peer) or peer} is off or gone: if it does not come back, "
        "`swarmnode recover` in a blank SWARM_HOME takes over what was put there"
        for peer in gone
    )
