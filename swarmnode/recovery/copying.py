"""The copy of this machine's keyring: what goes into it, and how it comes to its place."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from typing import Final

from storage.engine.port import Tables
from storage.errors import StorageError, StoreFullError
from storage.facade import Mark, ObjectKind, ReadCap
from storage.ids import Address
from storage.manifests.capability import text_of_cap
from storage.objects.keyring import Keyring
from swarmnode.errors import SnapshotError
from swarmnode.estate.plan import inputs_of
from swarmnode.estate.rows import ESTATES
from swarmnode.limits import COPIES_WAITING_MAX
from swarmnode.people.book import TABLE as PEOPLE
from swarmnode.recovery.copies.place import Place
from swarmnode.recovery.copies.pointers import Taken
from swarmnode.recovery.copies.snapshot import KeyringSnapshot, SnapshotRow, pack
from swarmnode.recovery.returned import Return
from swarmnode.recovery.things import Things
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TASK_ENDS
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.store import FORGOTTEN, TASKS, task_of

PIECE_BYTES: Final = 256 * 1024


class CopyMaker:
    """Makes one copy after another, each in the place of the one before it."""

    def __init__(self, things: Things, place: Place, returned: Return) -> None:
        """`returned` is told who has taken this machine over, and knows what is theirs."""
        self._things, self._place, self._returned = things, place, returned
        self.trouble = ""
        """Why the newest copy that was tried failed, in words; empty: it did not."""
        self._unpointed: tuple[ReadCap, Taken | None] | None = None
        """The newest copy, which is not at its place yet, and who had taken us over then."""
        self._reused = False
        """It was made before the last try, so that it may lack something."""
        self.ended: frozenset[TaskId] = frozenset()
        """Tasks that have ended, according to it."""
        self.size_bytes = 0
        """Of the newest copy."""

    async def renew(self) -> bool:
        """Whether the pool has what we have now."""
        try:
            taken = self._returned.note(await self._place.taken())
            cap = await self._put(taken)
            await self._point(cap, taken)
        except (StorageError, SnapshotError) as exc:
            self.trouble = f"the copy of your keyring in the pool is behind: {exc}"
            return False
        is_newest, self._reused = not self._reused, False
        self.trouble, self._unpointed = "", None
        return is_newest

    async def _put(self, taken: Taken | None) -> ReadCap:
        """A new copy; the last one again where many wait for a place that cannot be written."""
        waiting = sum(
            entry.mark.kind == ObjectKind.KEYRING for entry in self._things.objects.entries()
        )
        if self._unpointed is not None and waiting > COPIES_WAITING_MAX:
            cap, known = self._unpointed
            if known == taken:
                self._reused = True
                return cap
        data, mark = pack(self._snapshot()), Mark(ObjectKind.KEYRING)
        self.size_bytes = len(data)
        receipt = await self._things.objects.put(_pieces(data), name="keyring", mark=mark)
        self._unpointed, self._reused = (receipt.cap, taken), False
        return receipt.cap

    async def _point(self, cap: ReadCap, taken: Taken | None) -> None:
        await self._place.point(text_of_cap(cap), taken)
        for entry in self._things.objects.entries():  # copies of other machines are never in it
            if entry.mark.kind == ObjectKind.KEYRING and entry.cap.address != cap.address:
                with suppress(StoreFullError):
                    await self._things.objects.forget(entry.cap.address)

    def _snapshot(self) -> KeyringSnapshot:
        things, taken_over_ms = self._things, self._returned.taken_over_ms
        tasks = [(key, value, task_of(value)) for key, value in _all(things.tables, TASKS)]
        ours = [(key, value, task) for key, value, task in tasks if _is_ours(task, taken_over_ms)]
        self.ended = frozenset(task.task for _, _, task in ours if task.state in TASK_ENDS)
        rows = [SnapshotRow(TASKS, key, value) for key, value, _ in ours]
        for table in (ESTATES, PEOPLE, FORGOTTEN):
            rows += [SnapshotRow(table, key, value) for key, value in _all(things.tables, table)]
        left_out = [task for _, _, task in tasks if not _is_ours(task, taken_over_ms)]
        objects = _objects_without(things.keyring, left_out, [task for _, _, task in ours])
        lab_seed, network_seed = things.vault.keys()
        return KeyringSnapshot(
            things.wall_ms(),
            tuple(objects),
            tuple(rows),
            lab_seed,
            network_seed,
            things.vault.names(),
        )


def _objects_without(
    keyring: Keyring, tasks: Sequence[TaskRecord], ours: Sequence[TaskRecord]
) -> Iterator[tuple[bytes, bytes]]:
    """What belongs to them alone would be freed wherever the copy is brought back."""
    if not tasks:
        yield from keyring.dump()
        return
    gone = {task.task for task in tasks}
    inputs = {address for task in tasks for address in inputs_of(task)}
    inputs -= {address for task in ours for address in inputs_of(task)}
    kept = []
    for address, raw in keyring.dump():
        row = keyring.get(Address(address))
        is_input = row is not None and row.kind == ObjectKind.INPUT and address in inputs
        if row is not None and not (is_input or row.task in gone):
            kept.append((address, row, raw))
    needed = {pack for _, row, _ in kept for pack in row.needs}
    for address, row, raw in kept:
        if row.kind != ObjectKind.PACK or address in needed:
            yield address, raw


def _is_ours(task: TaskRecord, taken_over_ms: int) -> bool:
    """Not what we guard for others, nor what another machine of ours may have taken over."""
    is_after = task.submitted_ms > taken_over_ms or task.after_taken_over_ms >= taken_over_ms
    return not task.submitter and is_after


def _all(tables: Tables, table: str) -> list[tuple[bytes, bytes]]:
    pairs: list[tuple[bytes, bytes]] = []
    while more := tables.scan(table, after=pairs[-1][0] if pairs else None):
        pairs += more
    return pairs


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), PIECE_BYTES):
        yield data[at : at + PIECE_BYTES]
