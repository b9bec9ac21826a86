"""What a keeper remembers of tasks that it keeps no more, or never kept: the newest of them."""

from p2p.ids import PeerId
from swarmnode.limits import RELIEVED_EARLY_MAX, RELIEVED_KEPT_MAX
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.tasks.ids import TaskId


class PastTasks:
    """So that what comes late about them does no harm."""

    def __init__(self) -> None:
        self.rested: dict[TaskId, int] = {}
        """Tasks of others we acted for: their workers may not know yet."""
        self.let_go: dict[TaskId, int] = {}
        """Ours once, that another machine has for its own since."""
        self.dropped: dict[TaskId, int] = {}
        """Terms in which we were keepers of what we keep no more: whoever acted in an earlier one
        does not find us ready to start again."""
        self.relieved: dict[TaskId, int] = {}
        """Those that we kept until their submitter had everything: what was still on its way to us
        does not bring them back."""
        self._early: dict[PeerId, dict[TaskId, int]] = {}
        """The same of what we never kept, by who said so: it holds for what that one brings, or
        acts for."""

    def relieve_early(self, peer: PeerId, task: TaskId) -> None:
        """Somebody says that a task is over which we do not keep: its record may come yet."""
        said = self._early.setdefault(peer, {})
        note(said, task, 0)
        if len(said) > RELIEVED_EARLY_MAX:
            del said[next(iter(said))]
        if len(self._early) > RELIEVED_EARLY_MAX:
            del self._early[next(iter(self._early))]

    def is_too_late(self, record: GuardRecord, bringer: PeerId) -> bool:
        """Whether a record comes after its task was over."""
        said = (self._early.get(peer, {}) for peer in (bringer, record.submitter, record.acting))
        return record.task in self.relieved or any(record.task in early for early in said)


def note(tasks: dict[TaskId, int], task: TaskId, number: int) -> None:
    """Remember a task among the newest."""
    tasks.pop(task, None)
    tasks[task] = number
    if len(tasks) > RELIEVED_KEPT_MAX:
        del tasks[next(iter(tasks))]
