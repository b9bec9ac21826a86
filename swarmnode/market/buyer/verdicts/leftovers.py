"""What a cancelled attempt left is kept, too."""

from swarmnode.market.buyer import events as e
from swarmnode.market.buyer.verdicts.starts import base_of
from swarmnode.market.outcomes import sound
from swarmnode.tasks.checkpoint import fits_award, is_newer
from swarmnode.tasks.ledger import Ledger
from swarmnode.tasks.messages import ResultTerms
from swarmnode.tasks.records import AttemptRecord, TaskRecord


def left_over(
    ledger: Ledger, record: TaskRecord, attempt: AttemptRecord, terms: ResultTerms, now_ms: int
) -> list[e.Effect]:
    """What a cancelled attempt had made until then; of older attempts nothing is wanted."""
    is_last = terms.fence == record.fence and attempt.ended_as == "cancelled"
    if not is_last or record.outcome is not None:
        return []
    newest = terms.checkpoint
    if newest is None or not fits_award(newest) or not is_newer(newest, base_of(record)):
        newest = record.checkpoint
    return [*ledger.left_over(record.task, sound(terms.outcome), newest, now_ms)]
