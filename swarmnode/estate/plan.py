"""What is to be taken over and what may go: decided from records alone."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Final

import msgspec

from storage.errors import CapabilityError
from storage.facade import Mark, ObjectEntry, ObjectKind
from storage.ids import Address
from storage.manifests.capability import parse_kept
from swarmnode.limits import (
    INPUT_KEPT_MS,
    INPUT_UNUSED_MS,
    TASK_FILES_KEPT_MS,
)
from swarmnode.tasks.checkpoint import CheckpointRecord, StoredFile
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TASK_ENDS, TaskState
from swarmnode.tasks.records import TaskRecord

NEVER_MS: Final = 2**62

_ATTEMPT: Final = "attempt/"
"""How names of what a failed attempt left begin: only those go when a later one stands."""


class Heirloom(msgspec.Struct, frozen=True):
    """A file of a task that should come onto the keyring."""

    cap: str
    name: str
    mark: Mark


def due(
    record: TaskRecord, made_ms: int, *, has_outputs: bool, left_fence: int = 0
) -> list[Heirloom]:
    """What a task has left since: the checkpoint made after that time, and its outputs.

    `left_fence`: of the last failed attempt whose outputs were taken over.
    """
    heirlooms: list[Heirloom] = []
    newest = record.checkpoint
    if newest is not None and newest.made_ms > made_ms and record.state is not TaskState.DONE:
        heirlooms += _checkpoints(record, newest)
    if record.left and record.left_fence > left_fence:
        heirlooms += _outputs(record, record.left, f"{_ATTEMPT}{record.task}/{record.left_fence}")
    if record.outcome is not None and record.state in TASK_ENDS and not has_outputs:
        heirlooms += _outputs(record, record.outcome.outputs, f"output/{record.task}")
    return heirlooms


def _checkpoints(record: TaskRecord, newest: CheckpointRecord) -> list[Heirloom]:
    mark = Mark(ObjectKind.CHECKPOINT, record.task, record.person)
    parts = [(newest.step, str(at), file.cap) for at, file in enumerate(newest.files)]
    parts += [(older.step, "0", older.file.cap) for older in newest.older]
    stem = f"checkpoint/{record.task}"
    return [Heirloom(cap, f"{stem}/{step}/{part}", mark) for step, part, cap in parts]


def _outputs(record: TaskRecord, files: Iterable[StoredFile], stem: str) -> list[Heirloom]:
    mark = Mark(ObjectKind.OUTPUT, record.task, record.person)
    return [Heirloom(file.cap, f"{stem}/{file.name}", mark) for file in files]


def files_until_ms(record: TaskRecord) -> int:
    """When the inputs and checkpoints of an ended task are freed; 0 while it has not ended.

    Somebody may want to look at, or go on from, what failed or was cancelled.
    """
    if record.state not in TASK_ENDS:
        return 0
    kept_ms = INPUT_KEPT_MS if record.state is TaskState.DONE else TASK_FILES_KEPT_MS
    return record.ended_ms + kept_ms


def inputs_of(record: TaskRecord) -> frozenset[Address]:
    """The objects a task reads."""
    addresses = set()
    for _, text in (*record.spec.inputs, *record.spec.data):
        try:
            addresses.add(parse_kept(text).address)
        except CapabilityError:  # the task will say so itself
            continue
    return frozenset(addresses)


def unneeded(
    records: Mapping[TaskId, TaskRecord],
    inputs: Mapping[TaskId, frozenset[Address]],
    entries: Sequence[ObjectEntry],
    now_ms: int,
    claims: Mapping[Address, int] = MappingProxyType({}),
) -> list[Address]:
    """Objects on the keyring that no task needs any more; `claims`: until when another will."""
    old = [*_old_checkpoints(records, entries, now_ms), *_old_attempts(records, entries)]
    used_until = _used_until(records, inputs)
    for entry in entries:
        if entry.mark.kind == ObjectKind.INPUT:
            address = entry.cap.address
            until_ms = max(used_until.get(address, 0), claims.get(address, 0))
            if now_ms >= (until_ms or entry.put_ms + INPUT_UNUSED_MS):
                old.append(address)
    return old


def logs_of_nobody(
    needed: Collection[bytes], entries: Iterable[ObjectEntry], now_ms: int
) -> list[Address]:
    """Objects with the logs of tasks that are all forgotten, or of which there are newer ones.

    A young one may be about to be noted.
    """
    return [
        entry.cap.address
        for entry in entries
        if entry.mark.kind == ObjectKind.LOG
        and entry.cap.address not in needed
        and now_ms >= entry.put_ms + INPUT_KEPT_MS
    ]


def _used_until(
    records: Mapping[TaskId, TaskRecord], inputs: Mapping[TaskId, frozenset[Address]]
) -> dict[Address, int]:
    used_until: dict[Address, int] = {}
    for task, record in records.items():
        until_ms = files_until_ms(record) or NEVER_MS
        for address in inputs[task]:
            used_until[address] = max(until_ms, used_until.get(address, 0))
    return used_until


def _old_checkpoints(
    records: Mapping[TaskId, TaskRecord], entries: Iterable[ObjectEntry], now_ms: int
) -> list[Address]:
    """Those that no task would go on from any more.

    One that is newer than what is known here of an open task is not: its keepers may know it.
    """
    needed = {task: _checkpoint_of(record, now_ms) for task, record in records.items()}
    return [
        entry.cap.address
        for entry in entries
        if entry.mark.kind == ObjectKind.CHECKPOINT
        and entry.cap.address not in needed.get(TaskId(entry.mark.task), ())
        and not _is_news(entry, records.get(TaskId(entry.mark.task)))
    ]


def _is_news(entry: ObjectEntry, record: TaskRecord | None) -> bool:
    if record is None or record.state in TASK_ENDS:
        return False
    newest = 0 if record.checkpoint is None else record.checkpoint.step
    return _step_in(entry.name) > newest


def _step_in(name: str) -> int:
    """As `due` names them; 0 for another name."""
    parts = name.split("/")
    return int(parts[2]) if len(parts) == 4 and parts[2].isdecimal() else 0


def _old_attempts(
    records: Mapping[TaskId, TaskRecord], entries: Iterable[ObjectEntry]
) -> list[Address]:
    """Outputs of failed attempts that a later attempt has replaced by its own."""
    replaced = []
    for entry in entries:
        record = records.get(TaskId(entry.mark.task))
        is_left = entry.mark.kind == ObjectKind.OUTPUT and entry.name.startswith(_ATTEMPT)
        if record is not None and is_left and entry.cap.address not in _outputs_of(record):
            replaced.append(entry.cap.address)
    return replaced


def _outputs_of(record: TaskRecord) -> frozenset[Address]:
    outputs = record.outcome.outputs if record.outcome else ()
    return _addresses([*outputs, *record.left])


def _addresses(files: Iterable[StoredFile]) -> frozenset[Address]:
    addresses = set()
    for file in files:
        with suppress(CapabilityError):  # its provider made it up: nothing of ours
            addresses.add(parse_kept(file.cap).address)
    return frozenset(addresses)


def _checkpoint_of(record: TaskRecord, now_ms: int) -> frozenset[Address]:
    """The objects of a task's newest checkpoint and of the steps kept with it."""
    until_ms = files_until_ms(record)
    if record.checkpoint is None or record.state is TaskState.DONE or 0 < until_ms <= now_ms:
        return frozenset()
    older = [step.file for step in record.checkpoint.older]
    return _addresses([*record.checkpoint.files, *older])
