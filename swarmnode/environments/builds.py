"""Which environments tasks build for the people of this machine just now."""

from collections.abc import Sequence
from typing import Final

from swarmnode.market.explain import TaskView
from swarmnode.tasks.environments.naming import is_build_of, is_recipe
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.records import TaskRecord

_AT_WORK: Final = frozenset({TaskState.AWARDED, TaskState.RUNNING})
TAKEN_IN_MS: Final = 10_000
"""So long after its end whoever wanted it takes in what it has built."""


def is_being_built(key: bytes, tasks: Sequence[TaskView], now_ms: int) -> bool:
    """Whether a machine builds it for one of these tasks, or has done so a moment ago."""
    return any(_builds(view.record, key, now_ms) for view in reversed(tasks))


def _builds(record: TaskRecord, key: bytes, now_ms: int) -> bool:
    is_fresh = record.state is TaskState.DONE and now_ms - record.ended_ms <= TAKEN_IN_MS
    spec, is_on = record.spec, record.state in _AT_WORK or is_fresh
    return is_on and is_recipe(spec.run, spec.env) and is_build_of(spec.name, key)
