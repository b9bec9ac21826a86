from itertools import product

import pytest

from swarmnode.errors import IllegalTransitionError
from swarmnode.tasks.lifecycle import (
    JOB_STEPS,
    TASK_ENDS,
    TASK_STEPS,
    JobFact,
    JobState,
    TaskFact,
    TaskState,
    next_job_state,
    next_task_state,
)


@pytest.mark.parametrize(("state", "fact"), list(product(TaskState, TaskFact)))
def test_a_task_steps_as_its_table_says_and_no_other_way(state: TaskState, fact: TaskFact) -> None:
    after = TASK_STEPS.get((state, fact))
    if after is not None:
        assert next_task_state(state, fact) is after
        return
    with pytest.raises(IllegalTransitionError):
        next_task_state(state, fact)


@pytest.mark.parametrize(("state", "fact"), list(product(JobState, JobFact)))
def test_a_job_steps_as_its_table_says_and_no_other_way(state: JobState, fact: JobFact) -> None:
    after = JOB_STEPS.get((state, fact))
    if after is not None:
        assert next_job_state(state, fact) is after
        return
    with pytest.raises(IllegalTransitionError):
        next_job_state(state, fact)


def test_nothing_follows_the_end_of_a_task_or_a_job() -> None:
    assert not [state for state, _ in TASK_STEPS if state in TASK_ENDS]
    assert not [state for state, _ in JOB_STEPS if state is JobState.SETTLED]


def test_every_task_that_has_not_ended_can_be_cancelled_and_can_be_given_up() -> None:
    for state in TaskState:
        if state not in TASK_ENDS:
            assert next_task_state(state, TaskFact.CANCEL_ASKED) is TaskState.CANCELLED
            assert next_task_state(state, TaskFact.GAVE_UP) is TaskState.FAILED
