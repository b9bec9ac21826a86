"""Brings the things of machines that are gone to this one, from the copies that they left.

who is gone -> their copies read -> theirs become ours in the list -> objects, people and tasks
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

import trio

from p2p.errors import AdmissionError, IdentityError
from p2p.identity.records import MembershipToken
from p2p.ids import PeerId
from storage.engine.port import WriteView
from storage.errors import StorageError
from storage.facade import OwnedNames
from storage.manifests.capability import parse_cap
from swarmnode.errors import SnapshotError
from swarmnode.estate.plan import NEVER_MS
from swarmnode.estate.rows import ESTATES, row_of
from swarmnode.people.book import TABLE as PEOPLE
from swarmnode.recovery.copies.place import tell_taken
from swarmnode.recovery.copies.pointers import KeyringCopies, Pointer, Taken, taken_by, taken_over
from swarmnode.recovery.copies.shelf import CopyShelf
from swarmnode.recovery.copies.snapshot import KeyringSnapshot, tasks_in, unpack
from swarmnode.recovery.finding import Finder, Sight
from swarmnode.recovery.others import MachineLife
from swarmnode.recovery.things import Things
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.store import FORGOTTEN

NOTHING_S: Final = 600.0
"""What could not be had, or known, for so long after the first other was met is not to be had."""

UNSURE_MS: Final = 600_000
"""Of what ended so long before a copy was made, nobody who ran it has the log any more."""
MORE_S: Final = 300.0
"""Within this the guardians of what was taken over are met, or are gone."""
RECENT_MS: Final = 8 * 86_400_000
"""Machines that were taken over longer ago are not asked for again after a start: rights to their
tasks end a week after those. A day more, for clocks."""

log = logging.getLogger("swarm.recovery")


class Retrieval:
    """What `recover` asked for, tried again until all is here. Each step may be repeated."""

    def __init__(
        self,
        things: Things,
        shelf: CopyShelf,
        finder: Finder,
        persons: OwnedNames,
        known_as: Callable[[], str],
        adopt: Callable[[MembershipToken], None] | None,
    ) -> None:
        """`known_as`: the person's name in the certificates of other machines of theirs."""
        self._things, self._shelf, self._finder, self._persons = things, shelf, finder, persons
        self.warning = ""
        """Why things are not back; for status."""
        self._met_s: float | None = None
        """When somebody was asked for the copies first."""
        self._back: set[str] = set()
        """Copies whose things are here."""
        self._tasks: set[TaskId] = set()
        """Those that they knew of."""
        self._more_until_s = 0.0
        """0: it is not counted yet."""
        self._seeds = (b"", b"")
        """Of the keys of lab and network: each from the newest copy that has it."""
        self._names = ("", "")
        """Of person and lab, likewise."""
        self._known_as, self._adopt = known_as, adopt

    async def go_on(self) -> bool:
        """Whether there is nothing more to bring back."""
        if self._met_s is None:
            self._met_s = trio.current_time()
        is_late = trio.current_time() >= self._met_s + NOTHING_S
        try:
            sight = await self._finder.look()
            if not sight.copies.pointers and not sight.apart:
                return self._found_nothing(is_late)
            troubles = await self._bring(sight)
        except (StorageError, SnapshotError) as exc:
            self.warning = f"your things are not back yet: {exc}"
            return False
        unread = [pointer for pointer in sight.copies.pointers if pointer.writer == self._things.me]
        # Our next copy would replace them.
        if any(pointer.cap not in self._back for pointer in unread):
            self.warning = f"not all of your things are back yet: {'; '.join(troubles)}"
            return False
        unsure = [peer for peer, life in sight.lives.items() if life is MachineLife.UNSURE]
        troubles += [f"{peer} does not answer, and may still live" for peer in unsure]
        living = [peer for peer, life in sight.lives.items() if life is MachineLife.LIVES]
        if troubles and not (is_late and (self._back or living or unsure)):
            self.warning = f"not all of your things are back yet: {'; '.join(troubles)}"
            return False
        return self._end(troubles, living)

    def _end(self, troubles: Sequence[str], living: Sequence[PeerId]) -> bool:
        """Whether our name is noted, too: the disk may have no room for that."""
        person, lab = self._names
        try:
            token = self._things.vault.named(person or self._known_as(), lab)
            if token is not None and self._adopt is not None:
                self._adopt(token)
        except (IdentityError, AdmissionError) as exc:
            self.warning = f"your name is not back yet: {exc}"
            return False
        for words in troubles:
            log.warning("the copy of a machine of yours was left where it is: %s", words)
        for peer in living:
            log.warning(
                "another machine of yours, %s, is up: what was put there stays there. To move "
                "here, stop it and recover into a blank SWARM_HOME",
                peer,
            )
        self._things.vault.recovered(*self._seeds)
        if self._back:
            log.info("back from the pool: %d objects, %d tasks", *self._count())
        self.warning = ""
        return True

    def _count(self) -> tuple[int, int]:
        return len(self._things.keyring.dump()), len(self._tasks)

    def _found_nothing(self, is_late: bool) -> bool:
        """Those who keep it may not have been met yet: only after a while there is none."""
        self.warning = (
            "your things are not back yet: nobody who was met keeps your keyring (asked for ten "
            "minutes; is it another network than you were in, or the phrase of somebody else? Then "
            "recover again in a blank SWARM_HOME)"
        )
        if not is_late:
            return False
        log.warning("the pool keeps no keyring under your name: nothing is brought back")
        return self._end((), ())

    async def _bring(self, sight: Sight) -> list[str]:
        """What stands in the way of some copies; the things of all others are here."""
        copies, dead = sight.copies, frozenset(sight.gone())
        await self._tell(copies.taken)
        gone = [copy for copy in copies.pointers if copy.writer in dead]
        apart = [copy for copy in sight.apart if copy.writer in dead]
        ours = [copy for copy in copies.pointers if copy.writer == self._things.me]
        # Taken over by an earlier try: no end without them, as our next copy replaces them.
        read, troubles = {}, list[str]()
        for pointer in (*(copy for copy in ours if copy.cap not in self._back), *gone, *apart):
            try:
                read[pointer] = await self._fetch(pointer)
            except (StorageError, SnapshotError) as exc:
                troubles.append(f"the copy of {pointer.writer} cannot be read: {exc}")
        await self._take(
            [copy for copy in gone if copy in read], [copy for copy in apart if copy in read]
        )
        newest_first = sorted(read.items(), key=lambda pair: -pair[1][0].made_ms)
        for _, (snapshot, _) in newest_first:  # all first: what one says is removed, another has
            await self._restore_rows(snapshot)
        for pointer, (snapshot, tasks) in newest_first:
            await self._restore(snapshot, tasks)
            self._back.add(pointer.cap)
        return troubles

    async def look_for_more(self, copies: KeyringCopies) -> None:
        """Ask for what the copies did not know of: every time, as not all may have answered.

        From when this machine began, or has its things back, for MORE_S. Raises StoreFullError.
        """
        now_s, now_ms = trio.current_time(), self._things.wall_ms()
        if not self._more_until_s and not self._things.vault.is_recovering():
            self._more_until_s = now_s + MORE_S
        if self._more_until_s and now_s >= self._more_until_s:
            return
        for taken in taken_by(copies, self._things.me):
            if now_ms - taken.at_ms < RECENT_MS:
                own = self._things.own_machines
                records = await own.left_behind.kept_for(taken.writer, taken.at_ms)
                await own.take_up(records, is_told=True)

    async def _take(self, gone: list[Pointer], apart: list[Pointer]) -> None:
        """Before tasks go on here: a machine that returns must not go on with them, too."""
        if not gone and not apart:
            return
        now_ms = self._things.wall_ms()
        await self._shelf.change(lambda now: taken_over(now, gone, self._things.me, now_ms, apart))
        await self._tell((await self._shelf.read()).taken)

    async def _tell(self, taken: Sequence[Taken]) -> None:
        """Machines that cannot read the list, should they return; also after a crash."""
        for gone in taken:
            if gone.by == self._things.me and gone.cap:
                await tell_taken(self._persons, Taken(gone.writer, gone.by, gone.at_ms))

    async def _fetch(self, pointer: Pointer) -> tuple[KeyringSnapshot, list[TaskRecord]]:
        parts = [part async for part in self._things.objects.get(parse_cap(pointer.cap))]
        snapshot = unpack(b"".join(parts))
        return snapshot, tasks_in(snapshot)

    async def _restore_rows(self, snapshot: KeyringSnapshot) -> None:
        """People, what was taken over of tasks, and which tasks are no more."""

        def write(view: WriteView) -> None:
            for row in snapshot.rows:
                if (
                    row.table in (ESTATES, PEOPLE, FORGOTTEN)
                    and view.get(row.table, row.key) is None
                ):
                    view.put(row.table, row.key, row.value)

        await self._things.tables.transact(write)

    async def _restore(self, snapshot: KeyringSnapshot, tasks: Sequence[TaskRecord]) -> None:
        """Objects last: what belongs to a task that is not known is freed."""
        with_log = {
            record.task for record in tasks if row_of(self._things.tables, record.task).log_at
        }
        unsure_ms = snapshot.made_ms - UNSURE_MS
        await self._things.own_machines.take_up(
            [record for record in tasks if record.task not in with_log], unsure_ms
        )
        await self._things.own_machines.take_up(
            [record for record in tasks if record.task in with_log], NEVER_MS
        )
        self._tasks.update(record.task for record in tasks)
        await self._things.keyring.restore(snapshot.objects)
        lab, network = self._seeds
        self._seeds = (lab or snapshot.lab_seed, network or snapshot.network_seed)
        person, lab_name = self._names
        self._names = (person or snapshot.names[0], lab_name or snapshot.names[1])
