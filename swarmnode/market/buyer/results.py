"""Results as their providers send them: whose counts, what follows, and when they are receipted."""

from p2p.effects import Send
from p2p.errors import WireError
from p2p.ids import PeerId
from swarmnode.market.buyer import events as e
from swarmnode.market.buyer.attempts import Attempts
from swarmnode.market.buyer.book import Book
from swarmnode.market.buyer.ends import ended
from swarmnode.market.buyer.verdicts.leftovers import left_over
from swarmnode.tasks.lifecycle import TASK_ENDS, TaskState
from swarmnode.tasks.messages import ReceiptTerms, Result, ResultTerms
from swarmnode.tasks.records import REPORTED, AttemptRecord, TaskRecord, attempt_of


class Results:
    """The results of one buyer's attempts."""

    def __init__(self, book: Book, attempts: Attempts) -> None:
        self._book, self._attempts = book, attempts
        self._custody = book.keeper.custody

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
            return self._attempts.stop(peer, terms.task, terms.fence)
        is_newest = terms.fence == record.fence  # a result follows its log
        came = self._book.late_logs.came(terms.task) if is_newest else []
        return [*came, *self._judged(record, attempt, terms, receipt, now_s)]

    def _is_past(self, terms: ResultTerms) -> bool:
        was_given = self._book.receipts.was_given(terms.task, terms.fence)
        return was_given or self._custody.was_relieved(terms.task)

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
            return self._attempts.stop(attempt.provider, terms.task, terms.fence)
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
        if record.submitter:  # another keeper has to know, too: of a new end nobody does yet
            is_kept = not effects and self._custody.holds(terms.task, terms.fence)
            return [receipt] if is_kept else effects
        if self._book.ledger.get(terms.task).state not in TASK_ENDS:
            return [*effects, receipt]
        return [*effects, *self._book.receipts.answer(terms.task, terms.fence, receipt, now_s)]
