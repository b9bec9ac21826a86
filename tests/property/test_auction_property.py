"""The buyer against everything that can come in any order, twice, late, forged or after a crash."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2p.effects import Notify, Persist, Send
from p2p.ids import PeerId
from p2p.membership.view import Liveness
from p2p.wire.codec import decode_as
from p2p.wire.envelope import open_signed
from swarmnode.limits import TASK_RECORD_BYTES_MAX
from swarmnode.market.buyer import events as e
from swarmnode.market.messages import (
    AWARD_DOMAIN,
    Accept,
    Award,
    AwardTerms,
    Bid,
    BidKind,
    CallForBids,
    Decline,
)
from swarmnode.tasks.checkpoint import CheckpointRecord
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.ledger import TaskChanged
from swarmnode.tasks.lifecycle import TASK_ENDS, TaskState
from swarmnode.tasks.messages import (
    RECEIPT_DOMAIN,
    Checkpointed,
    Phase,
    PreemptNotice,
    ReceiptTerms,
    ResultReceipt,
    State,
)
from swarmnode.tasks.records import Outcome, TaskRecord
from swarmnode.tasks.spec import Repeatability, TaskSpec
from swarmnode.tasks.store import TASKS, task_key
from testnet.sim.signer import KeyedHashSigner
from tests.buyer_lab import ADVERT, ALICE, BOB, CAROL, DAVE, NETWORK, Desk, held, result

PEERS = (ALICE, BOB, CAROL, DAVE)
OUTCOMES = (
    Outcome("done", 0, "exit"),
    Outcome("failed", 1, "exit"),
    Outcome("stopped", -1, "paused"),
    Outcome("unfit", -1, "inputs"),
)

# -- A3: the outcome of an auction does not depend on the order or the number of answers

bids = st.dictionaries(
    st.sampled_from(PEERS),
    st.lists(
        st.builds(
            Bid,
            auction=st.just(0),
            bid=st.integers(0, 3),
            kind=st.sampled_from(BidKind),
            eta_ms=st.integers(0, 5) | st.integers(-(2**63), 2**64 - 1),
            price_microcredits=st.integers(0, 3) | st.integers(-(2**63), 2**64 - 1),
            waste_micro=st.integers(0, 3),
        ),
        min_size=1,
        max_size=3,
    ),
    max_size=3,  # somebody stays silent, so that the window closes by time alone
)


def auctioned(answers: Sequence[tuple[PeerId, Bid]]) -> tuple[AwardTerms | None, TaskRecord]:
    desk = Desk()
    desk.know(*PEERS)
    desk.submit()
    number = desk.calls()[BOB]
    for peer, bid in answers:
        desk.hear(peer, Bid(number, *_fields(bid)))
    desk.run_for(0.5)
    awards = desk.awards()
    return (awards[0] if awards else None), desk.record()


def _fields(bid: Bid) -> tuple[int, BidKind, int, int, int, int]:
    return (
        bid.bid,
        bid.kind,
        bid.hold_ms,
        bid.eta_ms,
        bid.price_microcredits,
        bid.waste_micro,
    )


@given(given_bids=bids, dice=st.randoms(use_true_random=False))
def test_the_winner_does_not_depend_on_the_order_or_number_of_bids(
    given_bids: dict[PeerId, list[Bid]], dice: Random
) -> None:
    answers = [(peer, bid) for peer, several in given_bids.items() for bid in several]
    expected = auctioned(answers)
    again = answers + answers
    dice.shuffle(again)
    assert auctioned(again) == expected


@given(
    outcome=st.sampled_from(OUTCOMES),
    copies=st.integers(1, 4),
    beats=st.integers(0, 3),
    dice=st.randoms(use_true_random=False),
)
def test_a_result_repeated_and_reordered_among_beats_has_the_same_effect(
    outcome: Outcome, copies: int, beats: int, dice: Random
) -> None:
    plain = Desk()
    terms = plain.running()
    plain.hear(BOB, result(terms, outcome))
    desk = Desk()
    terms = desk.running()
    beat = State(terms.task, terms.fence, Phase.REPORTING)
    messages = [result(terms, outcome)] * copies + [beat] * beats
    dice.shuffle(messages)
    for message in messages:
        desk.hear(BOB, message)
    assert desk.record() == plain.record()
    assert len(desk.take(ResultReceipt)) == copies


# -- T1, T2: whatever happens, an acknowledged task ends once, and a result counts at most once

Op = tuple[str, int, int, int]
ops = st.lists(
    st.tuples(
        st.sampled_from(
            (
                "submit",
                "submit once",
                "bid",
                "bid",
                "bid",
                "answer",
                "answer",
                "result",
                "result",
                "forge",
                "beat",
                "checkpoint",
                "notice",
                "member",
                "advert",
                "cancel",
                "dry run",
                "wait",
                "wait",
                "restart",
                "crash before the write",
                "crash after the write",
            )
        ),
        st.integers(0, 7),
        st.integers(0, 7),
        st.integers(0, 7),
    ),
    max_size=60,
)


@dataclass(slots=True)
class Trial(Desk):
    """A desk that checks every batch of effects, and can crash in the middle of one."""

    crash: str = ""
    calls_made: list[tuple[PeerId, int]] = field(default_factory=list)
    awards_made: dict[tuple[TaskId, int], AwardTerms] = field(default_factory=dict)
    acknowledged: list[TaskId] = field(default_factory=list)
    done: list[TaskId] = field(default_factory=list)

    def perform(self, effects: Sequence[e.Effect]) -> None:
        crash, self.crash = self.crash, ""
        if crash == "before":
            self.restart()
            return
        writes = [one for one in effects if isinstance(one, Persist)]
        for write in writes:
            self._check_write(write)
        Desk.perform(self, writes)
        if crash == "after":
            self.restart()
            return
        rest = [one for one in effects if not isinstance(one, Persist)]
        for one in rest:
            self._check(one)
        Desk.perform(self, rest)

    def _check_write(self, write: Persist) -> None:
        """What has ended stays as it ended; fences only grow."""
        before = self.disk.get((write.table, write.key))
        if write.table != TASKS or before is None or write.value is None:
            return
        old = decode_as(TaskRecord, before, TASK_RECORD_BYTES_MAX)
        new = decode_as(TaskRecord, write.value, TASK_RECORD_BYTES_MAX)
        assert old.state not in TASK_ENDS
        assert new.fence in (old.fence, old.fence + 1)
        assert new.retries_used - old.retries_used in (0, 1)

    def _check(self, effect: e.Effect) -> None:
        match effect:
            case Send(peer, CallForBids(auction=number)):
                self.calls_made.append((peer, number))
            case Send(peer, Award(sealed)):
                signer = KeyedHashSigner(peer)
                terms = open_signed(signer, NETWORK, AWARD_DOMAIN, AwardTerms, sealed)
                made = self.awards_made.setdefault((terms.task, terms.fence), terms)
                assert made == terms  # one fence, one award
                record = self._on_disk(terms.task)
                assert record is not None
                assert (record.fence, record.provider) == (terms.fence, peer)
            case Send(peer, ResultReceipt(sealed)):
                signer = KeyedHashSigner(peer)
                receipt = open_signed(signer, NETWORK, RECEIPT_DOMAIN, ReceiptTerms, sealed)
                record = self._on_disk(receipt.task)
                assert record is not None
                ended = [one for one in record.attempts if one.fence == receipt.fence]
                assert ended[0].ended_as != ""
                assert ended[0].provider == peer == receipt.seller
            case Notify(TaskChanged(task=task, state=TaskState.DONE)):
                assert task not in self.done
                self.done.append(task)

    def _on_disk(self, task: TaskId) -> TaskRecord | None:
        raw = self.disk.get((TASKS, task_key(task)))
        return None if raw is None else decode_as(TaskRecord, raw, TASK_RECORD_BYTES_MAX)

    def apply(self, op: Op) -> None:
        what, a, b, c = op
        peer = PEERS[a % 4]
        match what:
            case "submit" | "submit once":
                task = TaskId(f"{len(self.acknowledged):016}")
                kind = Repeatability.ONCE if what == "submit once" else Repeatability.IDEMPOTENT
                deadline_ms = 20_000 if b == 0 else 0
                spec = TaskSpec(("x",), retries=c % 3, effects=kind, deadline_ms=deadline_ms)
                self.submit(spec, task)
                if self._on_disk(task) is not None:  # else it crashed before it could say so
                    self.acknowledged.append(task)
            case "bid" if self.calls_made:
                peer, number = self.calls_made[-1 - a % len(self.calls_made)]
                answer = BidKind(1 + b % 3) if b > 3 else BidKind.HELD
                self.hear(peer, Bid(number, c, answer, 3000, b * 100))
            case "answer" | "result" | "forge" | "beat" | "checkpoint" | "notice":
                if self.awards_made:
                    made = list(self.awards_made.values())
                    self._speak(what, made[-1 - a % len(made)], b, c)
            case "member":
                self.do(e.MemberStands(peer, Liveness(b % 4)))
            case "advert":
                self.do(e.Advertised(peer, ADVERT if b else None))
            case "cancel" if self.acknowledged and b > 4:
                self.do(e.CancelAsked(self.acknowledged[a % len(self.acknowledged)]))
            case "dry run":
                self.do(e.DryRunAsked(b + 1, TaskSpec(("x",))))
            case "wait":
                self.run_for((0.05, 0.3, 0.6, 1.2, 3.0, 6.0, 16.0, 40.0)[b])
            case "restart":
                self.restart()
            case "crash before the write":
                self.crash = "before"
            case "crash after the write":
                self.crash = "after"

    def _speak(self, what: str, terms: AwardTerms, b: int, c: int) -> None:
        task, fence, peer = terms.task, terms.fence, terms.seller
        match what:
            case "answer":
                message = Decline(task, fence, "expired") if b == 0 else Accept(task, fence)
                self.hear(peer, message)
            case "result":
                checkpoint = CheckpointRecord(c, (), 0) if c else None
                self.hear(peer, result(terms, OUTCOMES[b % 4], checkpoint))
            case "forge":
                other = PEERS[(PEERS.index(peer) + 1) % 4]
                self.hear(peer, result(terms, signer=other))
                self.hear(other, result(terms, signer=other))
            case "beat":
                self.hear(peer, State(task, fence, Phase(b % 5), c))
            case "checkpoint":
                self.hear(peer, Checkpointed(task, fence, CheckpointRecord(c, (), 0)))
            case "notice":
                self.hear(peer, PreemptNotice(task, fence, 3000))

    def settle(self) -> None:
        """From here on every machine is honest and well: everything must come to its end."""
        self.crash = ""
        self.know(*PEERS)
        self.calls_made.clear()
        for _ in range(400):
            calls, self.calls_made = self.calls_made, []
            for peer, number in calls:
                self.hear(peer, held(number, bid=number % 1000))
            for record in self.records():
                terms = self.awards_made.get((record.task, record.fence))
                if terms is not None and record.state in (TaskState.AWARDED, TaskState.RUNNING):
                    self.hear(terms.seller, result(terms))
            self.run_for(1.0)
            if all(record.state in TASK_ENDS for record in self.records()):
                break
        self.run_for(60)


@pytest.mark.parametrize("seed", range(2))
@settings(max_examples=250, deadline=None)
@given(given_ops=ops)
def test_an_acknowledged_task_reaches_exactly_one_end(seed: int, given_ops: list[Op]) -> None:
    trial = Trial(seed=seed)
    trial.know(*PEERS)
    for op in given_ops:
        trial.apply(op)
    trial.settle()
    for task in trial.acknowledged:
        record = trial.record(task)
        assert record.state in TASK_ENDS, record
        assert record.ended_ms
        once = record.spec.effects is Repeatability.ONCE
        accepted = [one for one in record.attempts if one.accepted_ms]
        began = [one for one in accepted if one.ended_as != "unfit"]
        assert not once or len(began) <= 1
    assert trial.buyer.tasks_open == trial.buyer.auctions_open == 0
