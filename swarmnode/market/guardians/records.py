"""What the keepers of a task hold, and when they agree."""

from collections.abc import Container

import msgspec
from blake3 import blake3

from p2p.ids import PeerId
from p2p.wire.codec import Record
from storage.rights import Right
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import TaskRecord


class GuardRecord(Record, frozen=True):
    """A task among its keepers. The newest is the one with the highest (term, seq)."""

    task: TaskId
    submitter: PeerId
    """The machine it was submitted to; once that is gone, the one that its owner took it up at."""
    term: int
    """Grows with every taking over."""
    seq: int
    """Grows with every change made by the one who acts."""
    acting: PeerId
    """Who acts in this term."""
    roster: tuple[PeerId, ...]
    """Who has a vote."""
    before: tuple[PeerId, ...]
    """Who had one, while the change to `roster` is not agreed by both; else empty."""
    task_record: TaskRecord
    """As its submitter would write it down: how it stands, as far as who acts knows."""
    rights: tuple[tuple[PeerId, Right], ...] = ()
    """Of each keeper that has one: to let a worker put what the task leaves in its owner's name."""
    promised: int = 0
    """The highest term this keeper has voted for; of no meaning to others."""

    @property
    def version(self) -> tuple[int, int]:
        """Orders the records of one task."""
        return self.term, self.seq

    def right_of(self, peer: PeerId) -> Right | None:
        """What that keeper was given."""
        return next((right for keeper, right in self.rights if keeper == peer), None)

    def is_party(self, peer: PeerId) -> bool:
        """Whether a machine has a say, or had one."""
        return peer in (self.submitter, self.acting, *self.roster, *self.before)

    @property
    def keepers(self) -> tuple[PeerId, ...]:
        """Everybody who should hold it, also during a change."""
        return tuple(dict.fromkeys((*self.roster, *self.before)))

    def log_at(self, acting: PeerId, me: PeerId) -> tuple[PeerId, ...]:
        """Who may have more of its log than we, the likelier one first: who acted for it, who ran
        it, and who keeps copies."""
        keepers = (peer for peer in self.keepers if peer != me)
        machines = dict.fromkeys((acting, self.task_record.provider, *keepers))
        return tuple(peer for peer in machines if peer)

    def settled(self, among: Container[PeerId]) -> bool:
        """Whether nobody else can decide otherwise: as `agreed`, but of two keepers both."""
        both = (self.roster, self.before) if self.before else (self.roster,)
        return all(sum(peer in among for peer in keepers) > len(keepers) // 2 for keepers in both)

    def agreed(self, among: Container[PeerId]) -> bool:
        """Whether these are enough to decide who acts."""
        return is_majority(self.roster, among) and (
            not self.before or is_majority(self.before, among)
        )


class KeptPage(Record, frozen=True):
    """Some of the tasks that are kept for one machine, in the order of their ids."""

    records: tuple[bytes, ...]
    """Each an encoded GuardRecord."""
    has_more: bool


def is_majority(roster: tuple[PeerId, ...], among: Container[PeerId]) -> bool:
    """More than half; of two keepers one, as neither could go on without the other."""
    needed = 1 if len(roster) <= 2 else len(roster) // 2 + 1
    return sum(peer in among for peer in roster) >= needed


def rank(task: TaskId, peer: PeerId) -> bytes:
    """The order in which members become keepers of a task: the same for everybody."""
    return blake3(f"{task} {peer}".encode(), derive_key_context="swarm task keepers 1").digest(16)


def grown(record: GuardRecord, **changes: object) -> GuardRecord:
    """The next version of a record, by the one who acts."""
    return msgspec.structs.replace(record, seq=record.seq + 1, **changes)
