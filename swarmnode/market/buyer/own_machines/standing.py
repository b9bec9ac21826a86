"""How a task stands on this machine, and who may know that: its person, or the key of its lab."""

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from p2p.identity.caller import Caller
from p2p.ids import LabId, PeerId, PersonId
from storage.rights import Right
from swarmnode.market.buyer.core import Buyer
from swarmnode.market.guardians.kept import Post
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TASK_ENDS
from swarmnode.tasks.records import TaskRecord

Whose: TypeAlias = tuple[PersonId, LabId]
WhoseTask: TypeAlias = Callable[[Right, TaskId], Whose | None]
"""Who gave a right to put for that task, if it proves somebody."""


def nobodys(_right: Right, _task: TaskId) -> Whose | None:
    """Where no rights are given none prove anything."""
    return None


class Here(msgspec.Struct, frozen=True):
    """How a task stands on this machine, for its owner."""

    record: TaskRecord
    """With the machine it was submitted to."""
    is_newest: bool
    """Nobody can know more of it: we act for it, or it has ended where we did."""
    may_cancel: bool


class WhoAsks(msgspec.Struct, frozen=True):
    """Who asks: a person by the certificate of their machine, or a lab by an order of its key."""

    person: PersonId
    lab: LabId | None = None

    def may(self, whose: Whose | None, guest: str) -> bool:
        """About a task of that person, or of a guest of one of their machines."""
        if whose is None:
            return False
        person, lab = whose
        return lab == self.lab if self.lab is not None else person == self.person and not guest


def was_removed(core: Buyer, task: TaskId, me: PeerId) -> bool:
    """Whether its owner removed it here, and its keepers have not all been told yet."""
    guard = core.custody.find(task)
    is_over = guard is not None and guard.submitter == me and guard.task_record.state in TASK_ENDS
    return is_over and core.ledger.find(task) is None


def standing(
    core: Buyer,
    task: TaskId,
    me: Caller,
    asker: WhoAsks,
    now_s: float,
    whose: Callable[[GuardRecord], Whose | None],
) -> Here | None:
    """What `asker` may know and do here about a task; None as well when it is somebody else's."""
    record, guard = core.ledger.find(task), core.custody.find(task)
    if was_removed(core, task, me.peer):
        return None
    if record is not None and not record.submitter:
        if not asker.may((me.person, me.lab), record.person):
            return None
        is_newest = record.state in TASK_ENDS or core.custody.may_act(task, now_s)
        return Here(msgspec.structs.replace(record, submitter=me.peer), is_newest, may_cancel=True)
    if guard is None or not asker.may(whose(guard), guard.task_record.person):
        return None
    return _as_keeper(core, guard, record, now_s)


def _as_keeper(core: Buyer, guard: GuardRecord, record: TaskRecord | None, now_s: float) -> Here:
    """Of another machine's task; `record` while we act for it, or did."""
    task, newest = guard.task, guard.task_record if record is None else record
    acts = core.custody.post_of(task) is Post.ACTS
    is_newest = acts and (newest.state in TASK_ENDS or core.custody.may_act(task, now_s))
    return Here(msgspec.structs.replace(newest, submitter=guard.submitter), is_newest, is_newest)
