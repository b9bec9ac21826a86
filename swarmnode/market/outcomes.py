"""What a provider says of an attempt's end, made fit to be kept."""

from swarmnode.limits import OUTPUTS_MAX
from swarmnode.tasks.choices import Limit
from swarmnode.tasks.records import Outcome


def sound(outcome: Outcome) -> Outcome:
    """The outcome, or one in its place when it could not be read back from our tables."""
    is_sound = len(outcome.outputs) <= OUTPUTS_MAX and len(outcome.not_enforced) <= len(Limit)
    return outcome if is_sound else Outcome("stopped", -1, "outputs", "its machine told too many")
