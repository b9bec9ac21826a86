"""What becomes of tasks when a machine is removed from the network: its owner's, a provider's."""

from p2p.effects import Persist
from p2p.ids import PeerId
from p2p.membership.view import Liveness
from swarmnode.market.buyer import events as e
from swarmnode.market.guardians import events as g
from swarmnode.market.guardians.config import GuardianConfig
from swarmnode.market.guardians.core import Keeper
from swarmnode.market.guardians.messages import ComeHome
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec import TaskSpec
from tests.buyer_lab import CAROL, SPEC, TASK, Desk

ME, ALICE, BOB = PeerId("me"), PeerId("alice"), PeerId("bob")


def record(task: TaskId, submitter: PeerId) -> GuardRecord:
    known = TaskRecord(task, TaskSpec(("true",)), 1000)
    return GuardRecord(task, submitter, 1, 1, submitter, (submitter, ME, BOB), (), known)


def nowhere(_record: TaskRecord) -> ComeHome:
    raise AssertionError("nothing was recovered here")


def test_what_was_kept_for_it_is_forgotten_and_what_is_of_others_stays() -> None:
    keeper = Keeper(GuardianConfig(), ME, lambda _task: None, lambda _record, _peer: None, nowhere)
    hers, his = TaskId("a" * 16), TaskId("b" * 16)
    keeper.handle(g.GuardsLoaded((record(hers, ALICE), record(his, BOB))), 0.0)
    keeper.take_decisions()
    effects = keeper.handle(g.MachinesRemoved(frozenset({ALICE, ME})), 1.0)
    assert [f.value for f in effects if isinstance(f, Persist)] == [None]
    assert keeper.take_decisions() == [g.TaskLetGo(hers)]
    assert keeper.handle(g.MachinesRemoved(frozenset({ALICE})), 2.0) == []


def refusals(desk: Desk) -> dict[PeerId, str]:
    """Why a dry run asks nobody."""
    desk.told.clear()
    desk.do(e.DryRunAsked(1, SPEC))
    ended = next(one for one in desk.told if isinstance(one, e.DryRunEnded))
    return dict(ended.record.unfit)


def test_a_removed_machine_is_called_that_and_not_dead() -> None:
    desk = Desk()
    desk.running(BOB)
    desk.do(g.MachinesRemoved(frozenset({BOB})), e.MemberStands(BOB, Liveness.DEAD))
    assert desk.record(TASK).attempts[0].detail == "its machine was removed from the network"
    assert refusals(desk)[BOB] == "was removed from the network"
    desk.do(g.MachinesRemoved(frozenset()), e.MemberStands(CAROL, Liveness.DEAD))
    assert refusals(desk)[CAROL] == "is dead"


def test_on_a_machine_that_is_out_itself_the_others_are_not_called_dead() -> None:
    desk = Desk()  # alice's
    desk.know(BOB)
    desk.do(g.MachinesRemoved(frozenset({ALICE})), e.MemberStands(BOB, Liveness.DEAD))
    assert refusals(desk)[BOB] == "this machine was removed from the network"
