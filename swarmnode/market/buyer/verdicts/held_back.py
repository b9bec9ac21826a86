"""When a task is held back: nodes die of it, one after the other.

A node that comes back after its process died names the jobs that had begun shortly before. Three
machines of which that was said, with no checkpoint in between, are no accident: the task ends as
failed instead of going on to a fourth. A machine that left, paused, slept or lost power says
nothing of the kind (swarmnode/executor/life.py). A node that lived and told of a fault of its own
under the task counts the same; where there are no three machines, so many faults on any.
"""

from typing import Final

from p2p.ids import PeerId
from swarmnode.limits import NODE_DEATH_SOON_MS, NODE_DEATHS_MAX, NODE_FAULTS_MAX
from swarmnode.tasks.deaths import death_words
from swarmnode.tasks.lifecycle import TASK_ENDS
from swarmnode.tasks.messages import State
from swarmnode.tasks.records import FAULT, AttemptRecord, Outcome, TaskRecord

REASON: Final = "held-back"
_FAULTED: Final = (
    "held back: on {} machines the node met a fault of its own under it, or died, and no "
    "checkpoint came between; report what those nodes' logs say before it is submitted again"
)
_DIED: Final = (
    "held back: on {} machines the node's process died within "
    f"{NODE_DEATH_SOON_MS // 1000} s of its start, and no checkpoint came between; look at "
    "what it does there (task logs) before it is submitted again"
)


def death_of(record: TaskRecord | None, peer: PeerId, message: State) -> str:
    """What to say of a death that was not known yet and counts; empty for any other."""
    if record is None or record.state in TASK_ENDS or message.node_died_ms > NODE_DEATH_SOON_MS:
        return ""
    for attempt in record.attempts:
        if (attempt.provider, attempt.fence) == (peer, message.fence):
            known = attempt.node_died_ms > 0
            return "" if known else death_words(message.node_died_ms)
    return ""


def is_fault(outcome: Outcome) -> bool:
    """Whether an attempt ended by what its machine's node did not foresee."""
    return (outcome.status, outcome.reason) == ("stopped", FAULT)


def reason(record: TaskRecord) -> str:
    """Why the task must not go on, or empty: deaths on too many machines since its last step."""
    counted = _since_its_last_step(record)
    machines = {
        attempt.provider for attempt in counted if attempt.node_died_ms or attempt.node_faulted
    }
    faults = sum(attempt.node_faulted for attempt in counted)
    if len(machines) < NODE_DEATHS_MAX and faults < NODE_FAULTS_MAX:
        return ""
    return (_FAULTED if faults else _DIED).format(len(machines))


def _since_its_last_step(record: TaskRecord) -> list[AttemptRecord]:
    newest = record.checkpoint
    step, made_ms = (0, 0) if newest is None else (newest.step, newest.made_ms)
    return [
        attempt
        for attempt in record.attempts
        if attempt.restored_step >= step or 0 < made_ms == attempt.restored_ms
    ]
