"""Ends of attempts as their providers tell them, and what follows for the task."""

from collections.abc import Callable

from p2p.effects import Send
from p2p.errors import WireError
from p2p.ids import PeerId
from swarmnode.limits import REASON_CHARS_MAX
from swarmnode.market.buyer import events as e
from swarmnode.market.buyer.book import MAY_HAVE_RUN, Book
from swarmnode.market.buyer.verdicts import held_back, starts
from swarmnode.market.buyer.verdicts.leftovers import left_over
from swarmnode.market.outcomes import sound
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import HELD_BY_PROVIDER, TASK_ENDS, TaskFact, TaskState
from swarmnode.tasks.messages import Phase, ReceiptTerms, Result, ResultTerms
from swarmnode.tasks.records import AttemptRecord, Outcome, TaskRecord
from swarmnode.tasks.spec import Repeatability

REPORTED = frozenset({"done", "failed", "stopped", "unfit"})
"""How an attempt can have ended whose result was written down: its receipt is given again."""


def attempt_of(record: TaskRecord, peer: PeerId, fence: int) -> AttemptRecord | None:
    """The attempt of that provider under that fence, if it is still on the record."""
    matches = (
        attempt for attempt in record.attempts if (attempt.provider, attempt.fence) == (peer, fence)
    )
    return next(matches, None)


def failed_on(record: TaskRecord) -> list[PeerId]:
    """Where the command itself failed: it may be that machine, so others are tried first."""
    return [attempt.provider for attempt in record.attempts if attempt.ended_as == "failed"]


class Results:
    """The results of one buyer's attempts."""

    def __init__(self, book: Book, stop: Callable[[PeerId, TaskId, int], list[e.Effect]]) -> None:
        """`stop` answers whoever speaks for an attempt that does not act."""
        self._book, self._stop = book, stop

    def on_result(self, peer: PeerId, message: Result, now_s: float) -> list[e.Effect]:
        """Take a result once, and give its receipt as often as it comes."""
        terms = self._opened(peer, message)
        if terms is None:
            self._book.counts["results_refused"] += 1
            return []
        record = self._book.ledger.find(terms.task)
        receipt = Send(peer, self._book.notary.receipt(ReceiptTerms(terms.task, terms.fence, peer)))
        if record is None and self._is_past(terms):
            return [receipt]  # forgotten since: what it left is not
        attempt = None if record is None else attempt_of(record, peer, terms.fence)
        if record is None or attempt is None:
            return self._stop(peer, terms.task, terms.fence)
        return self._judged(record, attempt, terms, receipt, now_s)

    def _is_past(self, terms: ResultTerms) -> bool:
        was_given = self._book.receipts.was_given(terms.task, terms.fence)
        return was_given or self._book.keeper.was_relieved(terms.task)

    def _opened(self, peer: PeerId, message: Result) -> ResultTerms | None:
        """None for what its sender did not sign, or not for us."""
        try:
            terms = self._book.notary.open_result(message.sealed)
        except WireError:
            return None
        is_meant = message.sealed.sender == peer and terms.buyer == self._book.me
        return terms if is_meant else None

    def _judged(
        self,
        record: TaskRecord,
        attempt: AttemptRecord,
        terms: ResultTerms,
        receipt: e.Effect,
        now_s: float,
    ) -> list[e.Effect]:
        if record.state is TaskState.CANCELLED:
            left = left_over(self._book.ledger, record, attempt, terms, self._book.wall_ms())
            return [*left, receipt]
        if attempt.ended_as in REPORTED:
            return self._receipted(record, terms, receipt, [], now_s)
        if terms.fence != record.fence or record.state in TASK_ENDS:
            return self._stop(attempt.provider, terms.task, terms.fence)
        effects = ended(self._book, record, terms, now_s)
        return self._receipted(record, terms, receipt, effects, now_s)

    def _receipted(
        self,
        record: TaskRecord,
        terms: ResultTerms,
        receipt: e.Effect,
        effects: list[e.Effect],
        now_s: float,
    ) -> list[e.Effect]:
        """With the receipt as soon as the end cannot be forgotten."""
        if record.owner:  # another keeper has to know, too: of an end that is new nobody does yet
            is_kept = not effects and self._book.keeper.holds(terms.task, terms.fence)
            return [receipt] if is_kept else effects
        if self._book.ledger.get(terms.task).state not in TASK_ENDS:
            return [*effects, receipt]
        return [*effects, *self._book.receipts.answer(terms.task, terms.fence, receipt, now_s)]


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
    book.pursuits[task].phase = Phase.UNKNOWN
    follow = {"failed": failed, "unfit": unfit}.get(status, _stopped)
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
        return book.give_up(task, "lost", f"{why}; {MAY_HAVE_RUN}")
    if held_back.is_fault(outcome) and (reason := held_back.reason(record)):
        return book.give_up(task, held_back.REASON, reason)
    book.shun(task, record.provider, now_s)
    return [*book.step(task, TaskFact.PROVIDER_LOST, why), *book.retry(task, now_s)]
