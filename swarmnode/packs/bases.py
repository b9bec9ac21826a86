"""Earlier folders of a person, for a new one to refer to their packs.

They are found on the keyring, so what is known of contents is what their owner's own folders say:
nobody learns from us whether somebody else has a file.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import trio

from storage.errors import StorageError
from storage.facade import ObjectEntry, Objects, ReadCap
from storage.ids import Address
from swarmnode.errors import PersonLockedError, TreeRefusedError
from swarmnode.tree.folder import contents_in
from swarmnode.tree.layout import Known

FOLDER_BASES_MAX: Final = 4
"""Earlier folders of a person that a new one is compared with: the newest, those of its name first.
Each costs reading its index, and some megabytes of memory where it has many files."""

OpenCap: TypeAlias = Callable[[str, ReadCap], ReadCap]
"""A person's capability in clear, where it rests sealed. Raises PersonLockedError."""


class Bases:
    """Reads their indexes, and keeps those that were used last."""

    def __init__(self, objects: Objects, open_cap: OpenCap) -> None:
        self._objects, self._open_cap = objects, open_cap
        self._read: dict[Address, Known] = {}
        """By the folder's address, the one that was used last at the end."""

    async def known(self, name: str, person: str, after_ms: int) -> list[Known]:
        """What the newest folders of a person refer to, those of that name first.

        Only what was put here after that counts. One that cannot be read is no base.
        """
        known: list[Known] = []
        for entry in self._chosen(name, person, after_ms):
            cap = entry.cap
            contents = self._read.pop(cap.address, None)
            try:
                contents = contents or await self._load(self._open_cap(person, cap))
            except (StorageError, TreeRefusedError, PersonLockedError):
                continue
            self._read[cap.address] = contents
            known.append(contents)
        for address in list(self._read)[:-FOLDER_BASES_MAX]:
            self._read.pop(address, None)  # another put may have taken it out just now
        return known

    def _chosen(self, name: str, person: str, after_ms: int) -> Sequence[ObjectEntry]:
        folders = [
            entry
            for entry in self._objects.entries()
            if entry.needs
            and entry.mark.person == person
            and not entry.removed_ms
            and entry.put_ms > after_ms
        ]
        folders.sort(key=lambda entry: (entry.name != name, -entry.put_ms))
        return folders[:FOLDER_BASES_MAX]

    async def _load(self, cap: ReadCap) -> Known:
        data = b"".join([piece async for piece in self._objects.get(cap)])
        return await trio.to_thread.run_sync(contents_in, data)
