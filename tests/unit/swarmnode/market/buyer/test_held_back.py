"""A task under which one node after the other dies is held back, and others are not."""

from p2p.ids import PeerId
from p2p.membership.view import Liveness
from swarmnode.limits import NODE_DEATH_SOON_MS
from swarmnode.market.buyer import events as e
from swarmnode.market.buyer.verdicts.held_back import REASON
from swarmnode.market.messages import AwardTerms
from swarmnode.tasks.checkpoint import CheckpointRecord
from swarmnode.tasks.ledger import TaskChanged
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.messages import CancelJob, Checkpointed, Phase, State
from tests.buyer_lab import BOB, CAROL, DAVE, TASK, Desk

EVE = PeerId("eve")


def died(terms: AwardTerms, after_ms: int = 4000) -> State:
    """What a machine says whose node came back."""
    return State(terms.task, terms.fence, Phase.RUNNING, node_died_ms=after_ms)


def lost_on(desk: Desk, peer: PeerId, after_ms: int = 4000) -> AwardTerms:
    """The task goes to a machine, which is given up; then its node comes back."""
    terms = desk.running(peer)
    desk.do(e.MemberStands(peer, Liveness.DEAD))
    if after_ms:
        desk.hear(peer, died(terms, after_ms))
    desk.run_for(1)
    return terms


def test_a_task_is_held_back_when_nodes_died_of_it_on_three_machines() -> None:
    desk = Desk()
    for peer in (BOB, CAROL):
        lost_on(desk, peer)
        assert desk.record().state is not TaskState.FAILED
    last = desk.running(DAVE)
    desk.hear(DAVE, died(last))
    record = desk.record()
    assert record.state is TaskState.FAILED
    assert record.outcome is not None
    assert record.outcome.reason == REASON
    assert "held back: on 3 machines" in record.why
    assert (DAVE, CancelJob(TASK, last.fence, REASON)) in desk.take(CancelJob)
    assert [one.node_died_ms for one in record.attempts] == [4000] * 3
    assert {one.detail for one in desk.told if isinstance(one, TaskChanged)} >= {
        "its machine's node died 4 to 9 s after the start",
        record.why,
    }


def test_what_is_told_again_counts_once() -> None:
    desk = Desk()
    for peer in (BOB, CAROL):
        terms = lost_on(desk, peer)
        desk.hear(peer, died(terms, 5000))
        desk.hear(peer, died(terms, 6000))
    assert desk.record().state is not TaskState.FAILED
    assert [one.node_died_ms for one in desk.record().attempts] == [4000, 4000]


def test_machines_that_were_only_lost_or_died_later_never_count() -> None:
    desk = Desk()
    for peer, after_ms in ((BOB, 0), (CAROL, NODE_DEATH_SOON_MS + 1), (DAVE, 4000), (EVE, 4000)):
        lost_on(desk, peer, after_ms)
    assert desk.record().state is not TaskState.FAILED


def test_a_checkpoint_in_between_starts_the_count_anew() -> None:
    desk = Desk()
    for peer in (BOB, CAROL):
        lost_on(desk, peer)
    terms = desk.running(DAVE)
    desk.hear(DAVE, Checkpointed(TASK, terms.fence, CheckpointRecord(3, (), 0)))
    desk.hear(DAVE, died(terms))
    assert desk.record().state is TaskState.RUNNING


def test_only_the_attempts_own_machine_is_believed() -> None:
    desk = Desk()
    for peer in (BOB, CAROL):
        lost_on(desk, peer)
    terms = desk.running(DAVE)
    desk.hear(EVE, died(terms))
    desk.hear(BOB, died(terms))
    assert desk.record().state is TaskState.RUNNING


def test_the_count_outlives_the_submitters_node() -> None:
    desk = Desk()
    for peer in (BOB, CAROL):
        lost_on(desk, peer)
    desk.restart()
    desk.hear(DAVE, died(desk.running(DAVE)))
    assert desk.record().state is TaskState.FAILED
