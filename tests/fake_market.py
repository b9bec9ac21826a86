"""A market in which happens what a test says: no auctions, no machines, no time."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

import msgspec
import trio

from p2p.ids import PeerId
from storage.errors import StoreFullError
from swarmnode.errors import TaskNotRunningError, TaskUnknownError
from swarmnode.market.buyer.own_machines.hand_over import RemovedElsewhere
from swarmnode.market.explain import Explanation, TaskEvent, TaskView
from swarmnode.market.guardians.kept import Guarded
from swarmnode.market.secrets.desk import NO_SECRETS
from swarmnode.tasks.checkpoint import StoredFile
from swarmnode.tasks.choices import JobSignal
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.ledger import TaskChanged
from swarmnode.tasks.lifecycle import TASK_ENDS, TaskState
from swarmnode.tasks.messages import FilesTold, Phase
from swarmnode.tasks.records import AttemptRecord, BidRecord, Outcome, RoundRecord, TaskRecord
from swarmnode.tasks.spec import TaskSpec

ADA, BOB = PeerId("12D3ada"), PeerId("12D3bob")
ROUND = RoundRecord(
    number=1,
    opened_ms=1000,
    window_ms=200,
    outcome="awarded",
    bids=(
        BidRecord(ADA, "held", 0, 150, (("price", 100), ("eta", 50)), "", won=True),
        BidRecord(BOB, "refused", reason="capacity"),
    ),
    unfit=((PeerId("12D3cy"), "no GPU"),),
)


class FakeElsewhere:
    """What the owner's other machines have."""

    def __init__(self) -> None:
        self.others: dict[TaskId, TaskView] = {}
        """Submitted there."""

    async def find(self, task: TaskId, *, cancel: bool = False) -> TaskView:
        await trio.lowlevel.checkpoint()
        if task not in self.others:
            raise TaskUnknownError(f"no task {task} was submitted here")
        if cancel and not self.others[task].has_ended:
            record = self.others[task].record
            ended = msgspec.structs.replace(record, state=TaskState.CANCELLED, ended_ms=2000)
            self.others[task] = TaskView(ended)
        return self.others[task]

    async def log(
        self, task: TaskId, stream: str, *, follow: bool, attempt: int = 0
    ) -> AsyncGenerator[bytes, None]:
        await trio.lowlevel.checkpoint()
        yield f"{stream} of {task}".encode()


class FakeHandOver:
    """What went to the owner's other machines, and is removed there."""

    def __init__(self, elsewhere: FakeElsewhere) -> None:
        self._elsewhere = elsewhere
        self.removed = RemovedElsewhere((), ())
        """What comes of removing a task there."""

    def moved(self, text: str) -> Mapping[TaskId, PeerId]:
        return {
            task: view.record.submitter
            for task, view in self._elsewhere.others.items()
            if text in (task, view.record.spec.name)
        }

    async def remove(self, task: TaskId) -> RemovedElsewhere:
        await trio.lowlevel.checkpoint()
        self._elsewhere.others.pop(task, None)
        return self.removed


class FakeMachines:
    """The owner's other machines."""

    def __init__(self) -> None:
        self.elsewhere = FakeElsewhere()
        self.hand_over = FakeHandOver(self.elsewhere)


class FakeGuardians:
    """They have every task as the test says."""

    def __init__(self) -> None:
        self.guards = Guarded((BOB,), 1)

    async def guarded(self, task: TaskId) -> Guarded:
        await trio.lowlevel.checkpoint()
        return self.guards


class FakeSeller:
    """Notes when the owner wants the machine."""

    def __init__(self) -> None:
        self.paused: list[float | None] = []

    async def pause(self, grace_s: float) -> None:
        await trio.lowlevel.checkpoint()
        self.paused.append(grace_s)

    async def resume(self) -> None:
        await trio.lowlevel.checkpoint()
        self.paused.append(None)


class FakeBuyer:
    """Does what the test says; the log of a task is whatever the test puts there."""

    def __init__(self) -> None:
        self.views: dict[TaskId, TaskView] = {}
        self.printed: dict[TaskId, dict[str, bytearray]] = {}
        self.running_files: tuple[StoredFile, ...] = ()
        """Outputs of a task that runs."""
        self.signals: list[tuple[TaskId, JobSignal]] = []
        """Given to tasks, in order."""
        self.reading = 0
        """Log readers that have not ended."""
        self.secrets_removed: list[tuple[str, str]] = []
        self.secrets_given: dict[str, bytes] = {}
        self.is_full = False
        """Its disk, when a secret is removed."""
        self.on_submit: Callable[[TaskId], None] = lambda _task: None
        """What happens to a task at once."""
        self._changed = trio.Event()
        self._events: list[trio.MemorySendChannel[TaskEvent]] = []

    async def secret_removed(self, person: str, name: str) -> None:
        if self.is_full:
            raise StoreFullError("state.lmdb")
        self.secrets_removed.append((person, name))

    async def submit(
        self,
        spec: TaskSpec,
        person: str = "",
        *,
        detached: bool = False,
        secrets: Mapping[str, bytes] = NO_SECRETS,
    ) -> TaskId:
        self.secrets_given = dict(secrets)
        await trio.lowlevel.checkpoint()
        task = TaskId(f"t{len(self.views) + 1}")
        self.printed[task] = {"stdout": bytearray(), "stderr": bytearray()}
        self._set(TaskView(TaskRecord(task, spec, 1000, person=person)), "submitted")
        self.on_submit(task)
        return task

    def start(self, task: TaskId, provider: PeerId = ADA) -> None:
        """A provider begins."""
        record = self.views[task].record
        attempt = AttemptRecord(1, provider, 1100, accepted_ms=1200)
        running = msgspec.structs.replace(
            record, state=TaskState.RUNNING, provider=provider, fence=1, attempts=(attempt,)
        )
        self._set(TaskView(running, Phase.RUNNING), "accepted")

    def prints(self, task: TaskId, text: str, stream: str = "stdout") -> None:
        self.printed[task][stream] += text.encode()
        self._stir()

    def finish(
        self, task: TaskId, outcome: Outcome | None = None, state: TaskState = TaskState.DONE
    ) -> None:
        """The task ends."""
        ended = outcome or Outcome("done", 0, "exit")
        record = msgspec.structs.replace(
            self.views[task].record, state=state, outcome=ended, ended_ms=2000
        )
        self._set(TaskView(record), "finished")

    def _set(self, view: TaskView, fact: str) -> None:
        self.views[view.task] = view
        change = TaskChanged(view.task, 1000, fact, view.state, view.record.provider)
        for channel in self._events:
            channel.send_nowait(change)
        self._stir()

    def _stir(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def tasks(self) -> Sequence[TaskView]:
        return tuple(self.views.values())

    def task(self, task: TaskId) -> TaskView:
        if task not in self.views:
            raise TaskUnknownError(f"no task {task} was submitted here")
        return self.views[task]

    async def wait(self, task: TaskId) -> TaskView:
        while not self.task(task).has_ended:
            await self._changed.wait()
        return self.task(task)

    async def cancel(self, task: TaskId) -> TaskView:
        await trio.lowlevel.checkpoint()
        if not self.task(task).has_ended:
            self.finish(task, Outcome("stopped", 143, "killed"), TaskState.CANCELLED)
        return self.task(task)

    async def signal(self, task: TaskId, signal: JobSignal) -> None:
        await trio.lowlevel.checkpoint()
        if self.task(task).has_ended:
            raise TaskNotRunningError(f"{task} has ended")
        self.signals.append((task, signal))

    async def files_now(self, task: TaskId) -> FilesTold:
        await trio.lowlevel.checkpoint()
        return FilesTold(self.running_files, "one changed while it was read")

    async def forget(self, task: TaskId) -> None:
        await trio.lowlevel.checkpoint()
        del self.views[task]

    def explain(self, task: TaskId) -> Explanation:
        return Explanation(self.task(task), (ROUND,))

    async def dry_run(self, spec: TaskSpec, person: str = "") -> Explanation:
        await trio.lowlevel.checkpoint()
        return Explanation(TaskView(TaskRecord(TaskId(""), spec, 1000)), (ROUND,))

    async def logs(
        self, task: TaskId, stream: str, *, follow: bool, attempt: int = 0
    ) -> AsyncGenerator[bytes, None]:
        at = 0
        self.reading += 1
        try:
            while True:
                printed = self.printed[task][stream]
                if len(printed) > at:
                    piece = bytes(printed[at:])
                    at += len(piece)
                    yield piece
                elif self.task(task).state in TASK_ENDS or not follow:
                    return
                else:
                    await self._changed.wait()
        finally:
            self.reading -= 1

    async def events(self) -> AsyncGenerator[TaskEvent, None]:
        send, receive = trio.open_memory_channel[TaskEvent](100)
        self._events.append(send)
        async with receive:
            async for event in receive:
                yield event


class FakeMarket:
    """Both sides."""

    def __init__(self) -> None:
        self.buyer, self.seller = FakeBuyer(), FakeSeller()
        self.own_machines, self.guardians = FakeMachines(), FakeGuardians()
