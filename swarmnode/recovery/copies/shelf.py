"""The value under the person's name: read, opened, changed and sealed again."""

from collections.abc import Callable
from typing import Final

from storage.errors import NameConflictError
from storage.facade import OwnedNames
from storage.limits import NAME_VALUE_BYTES_MAX
from swarmnode.errors import SnapshotError
from swarmnode.recovery.copies.pointers import KeyringCopies
from swarmnode.recovery.copies.snapshot import open_copies, seal_copies

NAME: Final = "keyring"
TRIES: Final = 16
"""Each conflict is another machine's write that succeeded: no person has so many at once."""


class CopyShelf:
    """Where the copies of one person's machines are."""

    def __init__(self, names: OwnedNames, seed: bytes, entropy: Callable[[int], bytes]) -> None:
        self._names, self._seed, self._entropy = names, seed, entropy

    async def read(self) -> KeyringCopies:
        """Raises StorageError, and SnapshotError for what this person's key does not open."""
        return (await self._read())[0]

    async def change(self, changed: Callable[[KeyringCopies], KeyringCopies]) -> None:
        """Replace what is there; `changed` is asked again when another machine was faster.

        Raises StorageError, and what `changed` raises.
        """
        for _ in range(TRIES):
            copies, sequence = await self._read()
            value = seal_copies(self._seed, changed(copies), self._entropy)
            if len(value) > NAME_VALUE_BYTES_MAX:
                raise SnapshotError("your machines are too many for the list of their copies")
            try:
                await self._names.write(NAME, value, expected=sequence, fence=0)
            except NameConflictError as exc:
                conflict = exc
            else:
                return
        raise conflict

    async def _read(self) -> tuple[KeyringCopies, int]:
        known = await self._names.read(NAME)
        if known is None:
            return KeyringCopies(), 0
        copies = open_copies(self._seed, known.value) if known.value else KeyringCopies()
        return copies, known.sequence
