"""Ends of attempts as their providers tell them, and what follows for the task."""

from p2p.ids import PeerId
from swarmnode.market.buyer import events as e
from swarmnode.market.buyer.book import Book
from swarmnode.tasks.lifecycle import TaskFact
from swarmnode.tasks.records import AttemptRecord, Outcome, TaskRecord
from swarmnode.tasks.spec import Repeatability


def attempt_of(record: TaskRecord, peer: PeerId, fence: int) -> AttemptRecord | None:
    """The attempt of that provider under that fence, if it is still on the record."""
    found = (one for one in record.attempts if (one.provider, one.fence) == (peer, fence))
    return next(found, None)


def failed_on(record: TaskRecord) -> list[PeerId]:
    """Where the command itself failed: it may be that machine, so others are tried first."""
    return [one.provider for one in record.attempts if one.ended_as == "failed"]


def failed(
    book: Book, record: TaskRecord, outcome: Outcome, why: str, now_s: float
) -> list[e.Effect]:
    """The command itself failed: once more, as often as was asked for."""
    task, spec = record.task, record.spec
    if record.retries_used >= spec.retries or spec.effects is Repeatability.ONCE:
        book.ledger.set_outcome(task, outcome)
        return book.close(task, TaskFact.GAVE_UP, why)
    book.ledger.use_retry(task)
    book.ledger.set_left(task, record.fence, outcome.outputs)
    told = f"retry {record.retries_used + 1} of {spec.retries} after {why}"
    return [*book.step(task, TaskFact.TRY_AGAIN, told), *book.retry(task, now_s)]


def unfit(
    book: Book, record: TaskRecord, outcome: Outcome, why: str, now_s: float
) -> list[e.Effect]:
    """It could not be started there; perhaps elsewhere."""
    task = record.task
    before = [one for one in record.attempts[:-1] if one.ended_as == "unfit"]
    if len(before) + 1 >= book.config.unfit_max:
        book.ledger.set_outcome(task, outcome)
        return book.close(task, TaskFact.GAVE_UP, f"could not be started anywhere: {why}")
    book.shun(task, record.provider, now_s)
    return [*book.step(task, TaskFact.TRY_AGAIN, why), *book.retry(task, now_s)]
