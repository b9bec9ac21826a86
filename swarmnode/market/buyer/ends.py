"""What follows for a task when its newest attempt has ended as its provider says."""

from swarmnode.limits import REASON_CHARS_MAX
from swarmnode.market.buyer import events as e
from swarmnode.market.buyer.book import MAY_HAVE_RUN, Book
from swarmnode.market.buyer.verdicts import held_back, starts
from swarmnode.market.outcomes import sound
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import HELD_BY_PROVIDER, TaskFact
from swarmnode.tasks.messages import Phase, ResultTerms
from swarmnode.tasks.records import REPORTED, Outcome, TaskRecord
from swarmnode.tasks.spec import Repeatability


def ended(book: Book, record: TaskRecord, terms: ResultTerms, now_s: float) -> list[e.Effect]:
    """The newest attempt has ended as its provider says, which nobody has said before."""
    task, outcome = record.task, sound(terms.outcome)
    status = outcome.status if outcome.status in REPORTED else "stopped"
    effects = [] if terms.checkpoint is None else book.keep(record, terms.checkpoint)
    if record.state not in HELD_BY_PROVIDER and status != "done":
        return effects  # lost already, and on its way to another machine
    why = _words(book.ledger.get(task), outcome)
    _end_attempt(book, task, status, outcome, why)
    if status == "done":
        return [*effects, *_done(book, record, outcome, why)]
    book.machine(record.provider)
    book.pursuits[task].watch.phase = Phase.UNKNOWN
    follow = {"failed": _failed, "unfit": _unfit}.get(status, _stopped)
    return [*effects, *follow(book, book.ledger.get(task), outcome, why, now_s)]


def _end_attempt(book: Book, task: TaskId, status: str, outcome: Outcome, why: str) -> None:
    is_bad, has_faulted = starts.is_bad_start(outcome), held_back.is_fault(outcome)
    book.ledger.end_attempt(
        task, book.wall_ms(), status, why, is_bad_start=is_bad, node_faulted=has_faulted
    )


def _words(record: TaskRecord, outcome: Outcome) -> str:
    why = f"{outcome.reason}: {outcome.detail}" if outcome.detail else outcome.reason
    return "; ".join(filter(None, (why[:REASON_CHARS_MAX], starts.falls_back(record, outcome))))


def _done(book: Book, record: TaskRecord, outcome: Outcome, why: str) -> list[e.Effect]:
    seen = book.machine(record.provider)
    seen.failures = max(0, seen.failures - 1)
    book.ledger.set_outcome(record.task, outcome)
    return book.close(record.task, TaskFact.FINISHED, why)


def _failed(
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


def _unfit(
    book: Book, record: TaskRecord, outcome: Outcome, why: str, now_s: float
) -> list[e.Effect]:
    """It could not be started there; perhaps elsewhere."""
    task = record.task
    before = [attempt for attempt in record.attempts[:-1] if attempt.ended_as == "unfit"]
    if len(before) + 1 >= book.config.unfit_max:
        book.ledger.set_outcome(task, outcome)
        return book.close(task, TaskFact.GAVE_UP, f"could not be started anywhere: {why}")
    book.shun(task, record.provider, now_s)
    return [*book.step(task, TaskFact.TRY_AGAIN, why), *book.retry(task, now_s)]


def _stopped(
    book: Book, record: TaskRecord, outcome: Outcome, why: str, now_s: float
) -> list[e.Effect]:
    """Its provider ended it, or could not go on with it: elsewhere, if it may run twice."""
    task = record.task
    if record.spec.effects is Repeatability.ONCE:
        return book.give_up(task, "lost", f"{why}; {MAY_HAVE_RUN}", outcome.usage)
    if held_back.is_fault(outcome) and (reason := held_back.reason(record)):
        return book.give_up(task, held_back.REASON, reason, outcome.usage)
    book.shun(task, record.provider, now_s)
    return [*book.step(task, TaskFact.PROVIDER_LOST, why), *book.retry(task, now_s)]
