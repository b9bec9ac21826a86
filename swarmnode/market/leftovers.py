"""What a provider says an attempt left, made fit to be kept; a cancelled one leaves it, too."""

from p2p.effects import Effect
from swarmnode.limits import OUTPUTS_MAX
from swarmnode.market.starts import base_of
from swarmnode.tasks.checkpoint import fits_award, is_newer
from swarmnode.tasks.choices import Limit
from swarmnode.tasks.ledger import Ledger
from swarmnode.tasks.messages import ResultTerms
from swarmnode.tasks.records import AttemptRecord, Outcome, TaskRecord


def left_over(
    ledger: Ledger, record: TaskRecord, attempt: AttemptRecord, terms: ResultTerms, now_ms: int
) -> list[Effect]:
    """What a cancelled attempt had made until then; of older attempts nothing is wanted."""
    is_last = terms.fence == record.fence and attempt.ended_as == "cancelled"
    if not is_last or record.outcome is not None:
        return []
    newest = terms.checkpoint
    if newest is None or not fits_award(newest) or not is_newer(newest, base_of(record)):
        newest = record.checkpoint
    return ledger.left_over(record.task, sound(terms.outcome), newest, now_ms)


def sound(outcome: Outcome) -> Outcome:
    """The outcome, or one in its place when it could not be read back from our tables."""
    is_sound = len(outcome.outputs) <= OUTPUTS_MAX and len(outcome.not_enforced) <= len(Limit)
    return outcome if is_sound else Outcome("stopped", -1, "outputs", "its machine told too many")
