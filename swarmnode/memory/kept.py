"""What this machine holds of checkpoints, in its own name or entrusted: names, and their end."""

from collections.abc import Collection
from contextlib import suppress

from storage.errors import StoreFullError
from storage.facade import ObjectEntry, ObjectKind, Objects
from storage.manifests.capability import text_of_cap
from swarmnode.tasks.checkpoint import CheckpointRecord
from swarmnode.tasks.ids import TaskId, is_task_id


def object_name(task: TaskId, step: int, part: str) -> str:
    """What a part of a checkpoint is called on the machine that took it, and on the keyring."""
    return f"checkpoint/{task}/{step}/{part}"


def task_of(name: str) -> TaskId | None:
    """Whose checkpoint an object of the keyring belongs to; None for any other object."""
    parts = name.split("/", 3)
    is_ours = len(parts) == 4 and parts[0] == "checkpoint" and is_task_id(parts[1])
    return TaskId(parts[1]) if is_ours else None


def caps_of(checkpoint: CheckpointRecord) -> frozenset[str]:
    """Everything a checkpoint is made of."""
    older = [step.file.cap for step in checkpoint.older]
    return frozenset([*(file.cap for file in checkpoint.files), *older])


async def forget_all_but(objects: Objects, task: TaskId, needed: Collection[str]) -> None:
    """Give up what this machine stored of a task's checkpoints, except these capabilities.

    What its submitter keeps here as its own stays. On a full disk nothing can be forgotten: it
    goes with the next step, or later.
    """
    mine = [entry for entry in objects.entries() if entry.mark.kind == ObjectKind.NONE]
    for entry in (*mine, *objects.entrusted()):
        if _is_of(entry, task) and text_of_cap(entry.cap) not in needed:
            with suppress(StoreFullError):
                await objects.forget(entry.cap.address)


async def hand_over(objects: Objects, task: TaskId, told: Collection[str]) -> None:
    """The submitter is told of these, and will be again: they are theirs; no others are."""
    for entry in objects.entrusted():
        if _is_of(entry, task):
            with suppress(StoreFullError):
                if text_of_cap(entry.cap) in told:
                    await objects.hand_over(entry.cap.address)
                else:
                    await objects.forget(entry.cap.address)


def _is_of(entry: ObjectEntry, task: TaskId) -> bool:
    return task_of(entry.name) == task
