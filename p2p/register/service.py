"""Runs the register: keeps it, has it spread, and ends the connections of whoever is out."""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import trio

from p2p.effects import Rng
from p2p.host.admission.book import AdmissionBook
from p2p.host.port import Host
from p2p.host.rpc.service import Rpc
from p2p.identity.register.register import Entry
from p2p.ids import PeerId, PersonId
from p2p.register.limits import SWEEP_S, UNKEPT_MAX
from p2p.register.talk import RegisterTalk
from p2p.wire.envelope import Signed


class EntryStore(Protocol):
    """Where entries outlive the process; node.py hands one over the state tables."""

    def load(self) -> list[Signed]:
        """Every entry that was kept and can be read."""
        ...

    async def keep(self, entries: Mapping[bytes, Signed]) -> bool:
        """Durable when it returns True; False when the disk is full."""
        ...

    async def forget(self, keys: Iterable[bytes]) -> None:
        """Drop what is no longer needed."""


class RegisterService:
    """Who is out, for the rest of the node."""

    def __init__(
        self,
        book: AdmissionBook,
        rpc: Rpc,
        host: Host,
        store: EntryStore,
        *,
        rng: Rng,
        wall_ms: Callable[[], int],
    ) -> None:
        self.book, self.register = book, book.register
        self._host, self._store = host, store
        self._wall_ms = wall_ms
        self.talk = RegisterTalk(book.register, rpc, host, rng, wall_ms)
        self._unkept: dict[bytes, Signed] = {}
        """Entries that are not on disk yet, by key; at most UNKEPT_MAX."""
        self._wake = trio.Event()
        """Set when an entry has come."""
        self._out: Mapping[PeerId, str] = {}
        """Machines that are out, and why, as of the last sweep; another mapping when it changes."""
        self._told_of_out: list[Callable[[Mapping[PeerId, str]], None]] = []
        self._told_of_lapsed: list[Callable[[PeerId, str], None]] = []
        self.register.listeners.append(self._on_entry)

    # -- what the rest of the node asks

    def out(self) -> Mapping[PeerId, str]:
        """Machines that are out for good, with the reason, as of the last look."""
        return self._out

    def people_out(self) -> frozenset[PersonId]:
        """People none of whose machines is a member any more."""
        everybody = self.book.everybody().items()
        staying = {who.person for peer, who in everybody if peer not in self._out}
        return frozenset(who.person for _, who in everybody if who.person not in staying)

    def would_misdate(self, but_for: str = "") -> bool:
        """Whether what we sign now would be dated wrong in most eyes; see AdmissionBook."""
        return self.book.would_misdate(self._host.peers(), but_for)

    def on_out(self, listener: Callable[[Mapping[PeerId, str]], None]) -> None:
        """Be told all that are out whenever that has changed; must not block."""
        self._told_of_out.append(listener)

    def on_lapsed(self, listener: Callable[[PeerId, str], None]) -> None:
        """Be told of each connection that is ended as its certificates have; must not block."""
        self._told_of_lapsed.append(listener)

    async def add(self, sealed: Signed) -> Entry | None:
        """Take an entry of our own, keep it, act on it and tell everybody; None if it is known."""
        entry = self.register.take(sealed, self._wall_ms())
        await self._keep()
        return entry

    # -- running

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Load, then keep, spread and sweep until cancelled; start it before the host."""
        self.register.take_all(self._store.load(), self._wall_ms())
        self.talk.forget_fresh()
        self._unkept.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.talk.compare_forever)
            task_status.started()
            while True:
                self._wake = trio.Event()
                await self._keep()
                self.talk.spread()
                await self._sweep(nursery)
                with trio.move_on_after(SWEEP_S):
                    await self._wake.wait()

    def _on_entry(self, entry: Entry) -> None:
        if len(self._unkept) < UNKEPT_MAX:
            self._unkept[entry.key] = entry.sealed
        self._wake.set()

    async def _keep(self) -> None:
        """Persist before anything is told; a full disk delays only that it outlives a restart."""
        waiting = dict(self._unkept)
        if waiting and await self._store.keep(waiting):
            for key in waiting:
                self._unkept.pop(key, None)
        uses, removals = self.register.uses, self.register.removals
        uses.forget(self._wall_ms())
        old = [*uses.dropped, *removals.dropped]
        uses.dropped, removals.dropped = [], []
        for key in old:
            self._unkept.pop(key, None)  # or a disk with room again would keep it for good
        if old:
            await self._store.forget(old)

    async def _sweep(self, nursery: trio.Nursery) -> None:
        out = self.book.removed()
        if out is not self._out and dict(out) != dict(self._out):
            self._out = out
            for listener in self._told_of_out:
                listener(out)
        gone = {**self.book.lapsed(self._wall_ms()), **out}
        for peer in self._host.peers():
            if peer in gone:
                for tell in () if peer in out else self._told_of_lapsed:
                    tell(peer, gone[peer])
                nursery.start_soon(self._host.disconnect, peer, gone[peer])
        await trio.lowlevel.checkpoint()
