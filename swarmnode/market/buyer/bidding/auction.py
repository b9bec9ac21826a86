"""One auction: who was asked, what they answered, who wins. The order of answers never matters."""

from collections import Counter
from collections.abc import Mapping

import msgspec

from p2p.effects import Send
from p2p.ids import PeerId
from p2p.wire.codec import encode
from swarmnode.limits import REASON_CHARS_MAX
from swarmnode.market.buyer import events as e
from swarmnode.market.messages import Bid, BidKind, CallForBids, Release
from swarmnode.market.pricing import Parts, score_parts, tie_break, total
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import BidRecord, RoundRecord
from swarmnode.tasks.spec import TaskSpec

_RANK = {BidKind.HELD: 0, BidKind.QUEUED: 1, BidKind.REFUSED: 2}


class Asked(msgspec.Struct, frozen=True):
    """What was known of a machine when it was asked; its score depends on nothing later."""

    rtt_ms: int
    failures: int
    """Attempts lost there, and more for each time that this task failed there."""


class Auction(msgspec.Struct):
    """An open auction, or one whose callees still keep places for its task."""

    auction: int
    """Its number in calls and bids; none comes twice at one buyer."""
    task: TaskId
    """Empty for a dry run."""
    spec: TaskSpec
    number: int
    """Which auction of its task it is, from 1; 0 for a dry run."""
    opened_s: float
    """By the clock of the core; `opened_ms` is the same on the wall, for people."""
    opened_ms: int
    window_s: float
    """Answers are waited for so long at most: some round trips of the slowest callee."""
    slack_ms: int
    """How long the task can wait: what a bid's waiting is weighed against."""
    asked: Mapping[PeerId, Asked]
    unfit: tuple[tuple[PeerId, str], ...]
    """Machines that were not asked, and why; UNFIT_KEPT_MAX at most."""
    dry_run: int = 0
    """Number by which whoever asked for a dry run knows it; 0 for an auction of a task."""
    is_open: bool = True
    """False once it was decided; places may remain."""
    bids: dict[PeerId, Bid] = msgspec.field(default_factory=dict)
    """The best answer of each callee so far; of nobody else."""

    def call(self, hold_s: float) -> list[e.Effect]:
        """Ask everybody."""
        spec = self.spec
        message = CallForBids(
            self.auction,
            spec.shape,
            spec.env,
            spec.enforce,
            spec.priority_class,
            spec.priority,
            round(hold_s * 1000),
            spec.net,
            machine=spec.built.machine if spec.built else "",
            environment_bytes=spec.built.size_bytes if spec.built else 0,
            secrets=bool(spec.secrets),
        )
        return [Send(peer, message) for peer in self.asked]

    def take(self, peer: PeerId, bid: Bid) -> bool:
        """Note an answer; False when it says nothing new.

        The best offer of a machine counts: room held before a place kept before a refusal.
        """
        before = self.bids.get(peer)
        if before is not None and _order(before) <= _order(bid):
            return False
        self.bids[peer] = bid
        return True

    def all_answered(self) -> bool:
        """Nobody is left to wait for."""
        return len(self.bids) == len(self.asked)

    def places(self) -> tuple[PeerId, ...]:
        """Machines that are busy and will offer themselves."""
        return tuple(p for p in self.asked if p in self.bids and _is(self.bids[p], BidKind.QUEUED))

    def winner(self) -> PeerId | None:
        """The machine with the lowest score among those that hold room."""
        held = [p for p in self.asked if p in self.bids and _is(self.bids[p], BidKind.HELD)]
        keys = [(total(self._parts(p)), tie_break(self.task, p), p) for p in held]
        return min(keys)[2] if keys else None

    def release(self, winner: PeerId | None) -> list[e.Effect]:
        """Tell everybody else that the room or place is not needed."""
        return [Send(peer, Release(self.auction)) for peer in self.asked if peer != winner]

    def record(self, outcome: str, winner: PeerId | None) -> RoundRecord:
        """The auction as `explain` shows it, best first."""
        lines = [self._line(peer, peer == winner) for peer in self.asked]
        lines.sort(key=lambda line: (line.kind != "held", line.score, not line.won))
        window_ms = round(self.window_s * 1000)
        return RoundRecord(
            self.number, self.opened_ms, window_ms, outcome, tuple(lines), self.unfit
        )

    def words(self) -> str:
        """Why nobody holds room, for people."""
        refused = [bid for bid in self.bids.values() if _is(bid, BidKind.REFUSED)]
        queued, silent = len(self.places()), len(self.asked) - len(self.bids)
        counts = [(queued, "busy"), (len(refused), "refused"), (silent, "silent")]
        told = ", ".join(f"{count} {word}" for count, word in counts if count)
        reasons = Counter(bid.detail or bid.reason for bid in refused).most_common(2)
        why = "".join(f"; {reason} ({count} of {len(refused)})" for reason, count in reasons)
        if len(refused) == 1:
            why = f": {reasons[0][0]}"
        left = f"; {len(self.unfit)} cannot run it (swarm task explain)" if self.unfit else ""
        machines = "1 machine" if len(self.asked) == 1 else f"{len(self.asked)} machines"
        words = f"asked {machines}: {told}{why}"
        return f"{words[: REASON_CHARS_MAX - len(left)]}{left}"

    def _parts(self, peer: PeerId) -> Parts:
        asked = self.asked[peer]
        bid = self.bids[peer]
        return score_parts(bid, rtt_ms=asked.rtt_ms, slack=self.slack_ms, failures=asked.failures)

    def _line(self, peer: PeerId, won: bool) -> BidRecord:
        bid = self.bids.get(peer)
        if bid is None:
            return BidRecord(peer, "silent")
        reason = f"{bid.reason}: {bid.detail}" if bid.detail else bid.reason
        kind, reason = bid.kind.name.lower(), reason[:REASON_CHARS_MAX]
        if not _is(bid, BidKind.HELD):
            return BidRecord(peer, kind, bid.eta_ms, reason=reason)
        parts = self._parts(peer)
        return BidRecord(peer, kind, bid.eta_ms, total(parts), parts, reason, won)


def _is(bid: Bid, kind: BidKind) -> bool:
    return bid.kind is kind


def _order(bid: Bid) -> tuple[int, int, bytes]:
    return (_RANK[bid.kind], bid.bid, encode(bid))
