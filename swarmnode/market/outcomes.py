"""What a provider says of an attempt's end, made fit to be kept."""

from swarmnode.limits import LOG_OFFSET_MAX, OUTPUTS_MAX
from swarmnode.tasks.choices import STREAMS, Limit
from swarmnode.tasks.records import Outcome


def sound(outcome: Outcome) -> Outcome:
    """The outcome, or one in its place when it could not be read back from our tables."""
    printed = outcome.log_bytes
    is_log = not printed or len(printed) == len(STREAMS)
    is_log = is_log and all(0 <= size <= LOG_OFFSET_MAX for size in printed)
    is_short = len(outcome.outputs) <= OUTPUTS_MAX and len(outcome.not_enforced) <= len(Limit)
    return (
        outcome
        if is_log and is_short
        else Outcome("stopped", -1, "outputs", "its machine told too many")
    )
