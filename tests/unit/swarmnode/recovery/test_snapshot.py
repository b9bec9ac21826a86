"""The copy of a keyring: whatever the tables hold comes back from it."""

from p2p.wire.codec import encode
from swarmnode.limits import TASK_RECORD_BYTES_MAX
from swarmnode.recovery.copies.snapshot import KeyringSnapshot, SnapshotRow, pack, tasks_in, unpack
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec import TaskSpec
from swarmnode.tasks.store import TASKS


def test_the_largest_task_that_the_tables_hold_comes_back_and_hides_nothing_else() -> None:
    task = TaskRecord(TaskId("t" * 24), TaskSpec(("train",)), 5)
    spare = TASK_RECORD_BYTES_MAX - len(encode(task)) - 8
    large = TaskRecord(task.task, task.spec, 5, why="x" * spare)
    assert 64 * 1024 < len(encode(large)) <= TASK_RECORD_BYTES_MAX
    snapshot = KeyringSnapshot(
        7, ((b"address", b"row"),), (SnapshotRow(TASKS, b"t", encode(large)),)
    )
    found = unpack(pack(snapshot))
    assert found == snapshot
    assert tasks_in(found) == [large]
