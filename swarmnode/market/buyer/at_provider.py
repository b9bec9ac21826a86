"""What is asked of the machine that runs a task of ours, for its owner, while it runs."""

from typing import Final

from p2p.host.rpc.service import Rpc
from p2p.ids import TrafficClass
from swarmnode.errors import TaskNotRunningError
from swarmnode.limits import STORE_FILES_S
from swarmnode.tasks.choices import JobSignal
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.messages import AskFiles, FilesTold, GiveSignal, SignalGiven
from swarmnode.tasks.records import TaskRecord

SIGNAL_TIMEOUT_S: Final = 5.0
"""Whoever presses Ctrl-C waits for it."""


async def files_now(rpc: Rpc, record: TaskRecord) -> FilesTold:
    """What there is of a task's outputs, also while it runs: its provider stores it.

    Raises PeerUnreachableError, CallTimeoutError, RemoteRefusalError.
    """
    if record.state is not TaskState.RUNNING:
        return FilesTold(record.outcome.outputs if record.outcome else record.left)
    told, _ = await rpc.call(
        record.provider,
        AskFiles(record.task, record.fence),
        FilesTold,
        traffic_class=TrafficClass.NORMAL,
        timeout_s=STORE_FILES_S,
    )
    return told


async def give_signal(rpc: Rpc, record: TaskRecord, signal: JobSignal) -> None:
    """Have the programs of a task that runs hear a signal.

    Raises TaskNotRunningError, PeerUnreachableError, CallTimeoutError, RemoteRefusalError (it has
    just ended).
    """
    if record.state is not TaskState.RUNNING:
        raise TaskNotRunningError(f"{record.task} is {record.state}: only what runs hears a signal")
    await rpc.call(
        record.provider,
        GiveSignal(record.task, record.fence, signal.value),
        SignalGiven,
        traffic_class=TrafficClass.INTERACTIVE,
        timeout_s=SIGNAL_TIMEOUT_S,
    )
