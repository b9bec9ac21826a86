"""What the keepers of a task do when its owner's machine was removed from the network."""

from p2p.effects import Persist
from p2p.ids import PeerId
from swarmnode.market.guard import events as g
from swarmnode.market.guard.config import GuardConfig
from swarmnode.market.guard.core import Guardian
from swarmnode.market.guard.messages import ComeHome
from swarmnode.market.guard.records import GuardRecord
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec import TaskSpec

ME, ALICE, BOB = PeerId("me"), PeerId("alice"), PeerId("bob")


def record(task: TaskId, owner: PeerId) -> GuardRecord:
    kept = TaskRecord(task, TaskSpec(("true",)), 1000)
    return GuardRecord(task, owner, 1, 1, owner, (owner, ME, BOB), (), kept)


def nowhere(_record: TaskRecord) -> ComeHome:
    raise AssertionError("nothing was recovered here")


def test_what_was_kept_for_it_is_forgotten_and_what_is_of_others_stays() -> None:
    keeper = Guardian(GuardConfig(), ME, lambda _task: None, lambda _record, _peer: None, nowhere)
    hers, his = TaskId("a" * 16), TaskId("b" * 16)
    keeper.handle(g.Loaded((record(hers, ALICE), record(his, BOB))), 0.0)
    keeper.take_decisions()
    effects = keeper.handle(g.OwnersRemoved(frozenset({ALICE, ME})), 1.0)
    assert [f.value for f in effects if isinstance(f, Persist)] == [None]
    assert keeper.take_decisions() == [g.Forgotten(hers)]
    assert keeper.handle(g.OwnersRemoved(frozenset({ALICE})), 2.0) == []
