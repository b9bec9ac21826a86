import msgspec

from p2p.ids import PeerId
from p2p.wire.codec import encode
from swarmnode.market.messages import Bid, BidKind
from swarmnode.market.pricing import (
    FAILURES_MAX,
    MICROCREDITS,
    NUMBER_MAX,
    score_parts,
    slack_ms,
    tie_break,
    total,
)
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import BidRecord
from swarmnode.tasks.spec import PriorityClass

BID = Bid(1, 1, BidKind.HELD)


def score(bid: Bid = BID, rtt_ms: int = 0, slack: int = 60_000, failures: int = 0) -> int:
    return total(score_parts(bid, rtt_ms=rtt_ms, slack=slack, failures=failures))


def test_waiting_one_slack_costs_one_credit() -> None:
    assert score(msgspec.structs.replace(BID, eta_ms=40_000), rtt_ms=20_000) == MICROCREDITS


def test_price_waste_and_failures_add_up() -> None:
    bid = msgspec.structs.replace(BID, price_microcredits=5, waste_micro=7)
    assert score(bid, failures=1) == 12 + MICROCREDITS // 10
    assert score(bid, failures=99) == 12 + FAILURES_MAX * MICROCREDITS // 10


def test_numbers_that_make_no_sense_are_clamped_and_can_be_written_down() -> None:
    wild = Bid(
        1,
        1,
        BidKind.HELD,
        eta_ms=2**63,
        price_microcredits=-(2**63),
        waste_micro=2**63,
        bring_bytes=2**63,
    )
    parts = score_parts(wild, rtt_ms=0, slack=1, failures=0)
    most = dict.fromkeys(("waiting", "environment", "waste"), NUMBER_MAX)
    assert dict(parts) == {"price": 0, **most, "failures": 0}
    assert encode(BidRecord(PeerId("bob"), "held", wild.eta_ms, total(parts), parts))


def test_a_near_deadline_makes_waiting_dearer() -> None:
    assert slack_ms(PriorityClass.BATCH, None) == 60_000
    assert slack_ms(PriorityClass.BATCH, 5_000) == 5_000
    assert slack_ms(PriorityClass.BATCH, 500_000) == 60_000
    assert slack_ms(PriorityClass.LATENCY, 0) == 1


def test_equal_bids_for_many_tasks_spread_over_their_machines() -> None:
    peers = [PeerId(name) for name in ("alice", "bob", "carol", "dave")]
    tasks = [TaskId(f"{number:016}") for number in range(400)]
    wins = [min(peers, key=lambda peer: tie_break(task, peer)) for task in tasks]
    assert all(70 < wins.count(peer) < 130 for peer in peers)
