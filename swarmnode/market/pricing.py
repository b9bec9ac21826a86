"""What a bid is worth to the buyer: integer micro-credits in named parts; the lowest sum wins.

A credit (1,000,000) is what a task of its class would give not to wait one slack. Inside a
network prices are 0, so waiting and wasted room decide.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

from p2p.ids import PeerId
from swarmnode.market.messages import Bid
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.spec import PriorityClass

MICROCREDITS: Final = 1_000_000

SLACK_MS: Final[Mapping[PriorityClass, int]] = {
    PriorityClass.OWNER: 1_000,
    PriorityClass.LATENCY: 1_000,
    PriorityClass.CRITICAL: 10_000,
    PriorityClass.BATCH: 60_000,
    PriorityClass.SCAVENGER: 600_000,
}
"""How long a task of each class can wait before that hurts, when it has no deadline."""

FAILURE_MICRO: Final = 100_000
"""A machine that has just lost a task of ours must be better by a tenth of a credit."""

FAILURES_MAX: Final = 5
"""More losses than this weigh no more: half a credit never outweighs the only free machine."""

FAILED_HERE: Final = 2
"""A machine on which the very task has failed weighs like so many losses: others are tried."""

BRING_BYTES_PER_S: Final = 12_500_000
"""At which an environment is taken to come to a machine: a line of 100 Mbit/s, filled."""

NUMBER_MAX: Final = 10**15
"""A seller may claim any 64-bit number: sums of clamped ones can still be written down."""

Parts = tuple[tuple[str, int], ...]


def slack_ms(priority_class: PriorityClass, deadline_left_ms: int | None) -> int:
    """Milliseconds a task can wait; a deadline that is nearer makes it shorter."""
    plain = SLACK_MS[priority_class]
    return plain if deadline_left_ms is None else max(1, min(plain, deadline_left_ms))


def score_parts(bid: Bid, *, rtt_ms: int, slack: int, failures: int) -> Parts:
    """The parts of a bid's score; numbers a seller gives are clamped to what makes sense."""
    waiting_ms = max(0, bid.eta_ms) + rtt_ms
    bring_ms = max(0, bid.bring_bytes) * 1000 // BRING_BYTES_PER_S
    return (
        ("price", _clamped(bid.price_microcredits)),
        ("waiting", _clamped(waiting_ms * MICROCREDITS // slack)),
        ("environment", _clamped(bring_ms * MICROCREDITS // slack)),
        ("waste", _clamped(bid.waste_micro)),
        ("failures", min(failures, FAILURES_MAX) * FAILURE_MICRO),
    )


def total(parts: Parts) -> int:
    """The score itself."""
    return sum(value for _, value in parts)


def tie_break(task: TaskId, peer: PeerId) -> bytes:
    """Rendezvous hash: equal bids for many tasks spread over their machines."""
    return blake2b(f"{task}\0{peer}".encode(), digest_size=8).digest()


def _clamped(number: int) -> int:
    return min(max(0, number), NUMBER_MAX)
