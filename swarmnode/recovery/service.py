"""Keeps the copy of the keyring in the pool as new as it can be, and brings it back once.

a put, task or checkpoint -> a moment of rest -> snapshot put -> its place under the person's name
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from typing import Final, Protocol

import trio

from p2p.ids import PeerId
from p2p.wire.codec import decode_as
from storage.caps import parse_cap, text_of_cap
from storage.engine.port import Tables, WriteView
from storage.errors import StorageError, StoreFullError
from storage.facade import Kind, Mark, Objects, OwnedNames
from storage.ids import Address
from storage.objects.keyring import Keyring
from swarmnode.edges import Vault
from swarmnode.errors import SnapshotError
from swarmnode.estate.service import ESTATES
from swarmnode.market.explain import EventsMissed, TaskEvent
from swarmnode.people.book import TABLE as PEOPLE
from swarmnode.recovery.snapshot import (
    Pointer,
    Row,
    Snapshot,
    open_pointer,
    pack,
    seal_pointer,
    tasks_in,
    unpack,
)
from swarmnode.tasks.ledger import TaskChanged
from swarmnode.tasks.lifecycle import TASK_ENDS
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.store import TASKS

NAME: Final = "keyring"
REST_S: Final = 2.0
"""Changes come in bursts: a loop of submits is one copy."""
EVERY_S: Final = 5.0
"""At least so long between two copies; and twenty times as long as one took."""
SHARE: Final = 20
AGAIN_S: Final = 10.0
"""After the pool could not take or give a copy."""
MEET_S: Final = 1.0
"""Between two looks for others, and for the copy, after a start."""
NOTHING_S: Final = 600.0
"""Nobody who keeps the copy has been met for so long after the first other: there is none."""
PIECE_BYTES: Final = 256 * 1024
_FACTS: Final = frozenset({"submitted", "checkpointed"})

log = logging.getLogger("swarm.recovery")


class Ledger(Protocol):
    """The part of MarketService that is needed here."""

    def events(self) -> AsyncGenerator[TaskEvent, None]: ...

    async def take_up(self, records: Sequence[TaskRecord]) -> None:
        """Go on with tasks that another machine of ours had submitted."""
        ...


class RecoveryService:
    """One person's keyring, from this machine to the pool and back."""

    def __init__(
        self,
        vault: Vault,
        names: OwnedNames,
        objects: Objects,
        keyring: Keyring,
        market: Ledger,
        tables: Tables,
        me: PeerId,
        waits_for_others: Callable[[], bool],
        *,
        entropy: Callable[[int], bytes],
        wall_ms: Callable[[], int],
    ) -> None:
        self._vault, self._names, self._objects = vault, names, objects
        self._keyring, self._market, self._tables, self._me = keyring, market, tables, me
        self._waits_for_others = waits_for_others
        self._entropy, self._wall_ms = entropy, wall_ms
        self._news = trio.Event()
        self.warning = ""
        """Why the copy in the pool is not kept; for status."""
        self._is_copying = False
        self._met_s: float | None = None
        """When somebody was asked for the copy first."""
        keyring.on_change = self._stir

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Bring back what is to be, then keep the copy until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow)
            task_status.started()
            while self._vault.is_recovering():
                if self._waits_for_others() or not await self._bring_back():
                    await trio.sleep(MEET_S)
            self._news.set()
            while True:
                await self._news.wait()
                await trio.sleep(REST_S)
                self._is_copying, self._news = True, trio.Event()
                began_s = trio.current_time()
                is_done = await self._copy()
                self._is_copying = False
                if not is_done:
                    self._news.set()
                    await trio.sleep(AGAIN_S)
                took_s = trio.current_time() - began_s
                await trio.sleep(max(EVERY_S - REST_S, SHARE * took_s))

    @property
    def is_behind(self) -> bool:
        """Whether the pool lacks something that this machine knows."""
        return self._news.is_set() or self._is_copying

    def _stir(self) -> None:
        self._news.set()

    async def _follow(self) -> None:
        async with aclosing(self._market.events()) as events:
            async for event in events:
                if isinstance(event, EventsMissed) or _matters(event):
                    self._stir()

    # -- to the pool

    async def _copy(self) -> bool:
        """Whether the pool has what we have now."""
        if self._waits_for_others():
            return False
        try:
            known = await self._names.read(NAME)
            if known is not None and known.value:
                before = open_pointer(self._vault.seed, known.value)
                if before.writer != self._me:
                    return self._another(before.writer)
            data = pack(self._snapshot())
            receipt = await self._objects.put(
                _pieces(data), name="keyring", mark=Mark(Kind.KEYRING)
            )
            sequence = 0 if known is None else known.sequence
            await self._point(receipt.cap.address, text_of_cap(receipt.cap), sequence)
        except (StorageError, SnapshotError) as exc:
            self.warning = f"the copy of your keyring in the pool is behind: {exc}"
            return False
        self.warning = ""
        return True

    def _another(self, writer: PeerId) -> bool:
        words = (
            f"another machine of yours, {writer}, keeps the copy of your keyring in the pool: what "
            "is put here is not in it"
        )
        self.warning = words
        return True

    async def _point(self, address: Address, cap: str, sequence: int) -> None:
        value = seal_pointer(self._vault.seed, Pointer(cap, self._me), self._entropy)
        await self._names.write(NAME, value, expected=sequence, fence=0)
        for entry in self._objects.entries():
            if entry.mark.kind == Kind.KEYRING and entry.cap.address != address:
                with suppress(StoreFullError):
                    await self._objects.forget(entry.cap.address)

    def _snapshot(self) -> Snapshot:
        lab_seed, network_seed = self._vault.keys()
        rows = [
            Row(table, key, value)
            for table in (TASKS, ESTATES, PEOPLE)
            for key, value in _all(self._tables, table)
            if table != TASKS or not decode_as(TaskRecord, value).owner  # not what we guard
        ]
        objects = tuple(self._keyring.dump())
        return Snapshot(self._wall_ms(), objects, tuple(rows), lab_seed, network_seed)

    # -- from the pool

    async def _bring_back(self) -> bool:
        """Whether there is nothing more to bring back."""
        try:
            known = await self._names.read(NAME)
            if known is None or not known.value:
                return self._found_nothing()
            pointer = open_pointer(self._vault.seed, known.value)
            cap = parse_cap(pointer.cap)
            snapshot = unpack(b"".join([part async for part in self._objects.get(cap)]))
            tasks = tasks_in(snapshot)
            await self._keyring.restore(snapshot.objects)
            await self._restore_rows(snapshot)
            await self._market.take_up(tasks)
            value = seal_pointer(self._vault.seed, Pointer(pointer.cap, self._me), self._entropy)
            await self._names.write(NAME, value, expected=known.sequence, fence=0)
        except (StorageError, SnapshotError) as exc:
            self.warning = f"your things are not back yet: {exc}"
            return False
        self._vault.recovered(snapshot.lab_seed, snapshot.network_seed)
        self.warning = ""
        log.info("%d objects and %d tasks are back", len(snapshot.objects), len(tasks))
        return True

    def _found_nothing(self) -> bool:
        """Those who keep it may not have been met yet: only after a while there is none."""
        self.warning = "your things are not back yet: nobody who was met keeps your keyring"
        if self._met_s is None:
            self._met_s = trio.current_time()
        if trio.current_time() < self._met_s + NOTHING_S:
            return False
        log.warning("the pool keeps no keyring under your name: nothing is brought back")
        self._vault.recovered(b"", b"")
        self.warning = ""
        return True

    async def _restore_rows(self, snapshot: Snapshot) -> None:
        def write(view: WriteView) -> None:
            for row in snapshot.rows:
                if row.table in (ESTATES, PEOPLE):
                    view.put(row.table, row.key, row.value)

        await self._tables.transact(write)


def _matters(event: TaskChanged) -> bool:
    return event.fact in _FACTS or event.state in TASK_ENDS


def _all(tables: Tables, table: str) -> list[tuple[bytes, bytes]]:
    pairs: list[tuple[bytes, bytes]] = []
    while more := tables.scan(table, after=pairs[-1][0] if pairs else None):
        pairs += more
    return pairs


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), PIECE_BYTES):
        yield data[at : at + PIECE_BYTES]
