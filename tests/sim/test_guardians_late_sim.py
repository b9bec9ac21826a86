"""What a guardian is told too early or too late, and by whom."""

import pytest
from msgspec.structs import replace

from p2p.ids import PeerId
from swarmnode.limits import RELIEVED_EARLY_MAX
from swarmnode.market.buyer.events import MessageHeard
from swarmnode.market.guardians.events import KeepHeard
from swarmnode.market.guardians.kept import Post
from swarmnode.market.guardians.messages import Relieve
from swarmnode.market.guardians.shelf import shares
from swarmnode.tasks.ids import TaskId
from tests.sim.market_world import MarketWorld, steps_task
from tests.sim.test_guardians_sim import names, nobody_keeps


def test_who_has_nothing_to_say_about_a_task_leaves_it_its_guardians() -> None:
    """Its provider knows its name before its guardians do."""
    world = MarketWorld(1, names(5))
    world.run(1)
    task = world.submit("node-0", steps_task(300, avoid=("node-0",)))
    world.run(1.0)
    provider = world.machines["node-0"].buyer.ledger.get(task).provider
    for name in names(5)[1:]:
        world.tell(name, MessageHeard(provider, Relieve(task, is_over=True)))
    world.run(60)
    assert world.machines["node-0"].buyer.custody.is_kept(task)
    assert len(world.machines["node-0"].buyer.custody.guarded(task).holders) == 2


def test_a_guardian_that_was_replaced_while_it_was_off_keeps_nothing_once_it_is_back() -> None:
    world = MarketWorld(1, names(5))
    world.run(1)
    task = world.submit("node-0", steps_task(5000, avoid=("node-0",)))
    world.run(20)
    submitter = world.machines["node-0"].buyer
    guardians = submitter.custody.guarded(task).holders
    gone = next(peer for peer in guardians if peer != submitter.ledger.get(task).provider)
    world.kill(gone)
    world.run(120)
    assert gone not in submitter.custody.guarded(task).holders
    world.start(gone)
    world.run(30)
    assert world.machines[gone].buyer.custody.find(task) is None
    asked = world.counts["AskVote"]
    world.run(60)
    assert world.counts["AskVote"] == asked
    assert len(submitter.custody.guarded(task).holders) == 2


def test_what_its_owner_had_called_over_is_not_kept_when_it_comes_late() -> None:
    world = MarketWorld(2, names(5))
    world.run(1)
    task = world.submit("node-0", steps_task(300, avoid=("node-0",)))
    for name in names(5)[1:]:
        world.tell(name, MessageHeard(PeerId("node-0"), Relieve(task, is_over=True)))
    world.run(60)
    assert world.machines["node-0"].buyer.custody.guarded(task).holders == ()


def test_a_member_that_calls_many_tasks_over_pushes_out_nobody_elses_word() -> None:
    world = MarketWorld(3, names(5))
    world.run(1)
    task = world.submit("node-0", steps_task(300, avoid=("node-0",)))
    shelf = world.machines["node-1"].buyer._book.keeper._shelf
    world.tell("node-1", MessageHeard(PeerId("node-0"), Relieve(task, is_over=True)))
    for number in range(2 * RELIEVED_EARLY_MAX):
        late = Relieve(TaskId(f"{number:016d}".translate(str.maketrans("0189", "abcd"))), True)
        world.tell("node-1", MessageHeard(PeerId("mallory"), late))
        world.tell("node-1", MessageHeard(PeerId("mallory"), Relieve(TaskId("x" * 9000), True)))
    assert set(shelf.past._early[PeerId("node-0")]) == {task}
    assert len(shelf.past._early[PeerId("mallory")]) <= RELIEVED_EARLY_MAX
    assert all(len(one) == len(task) for one in shelf.past._early[PeerId("mallory")])


def test_one_member_s_records_take_a_share_of_the_room_whoever_they_name_as_owner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shares, "GUARDED_BYTES_PER_MEMBER_MAX", 5000)
    world = MarketWorld(5, names(5))
    world.run(1)
    task = world.submit("node-0", steps_task(300, avoid=("node-0",)))
    world.run(10)
    record = world.machines["node-0"].buyer.custody.find(task)
    mallory = PeerId(
        next(n for n in names(5) if world.machines[n].buyer.custody.find(task) is None)
    )
    keeper = next(name for name in names(5)[1:] if world.machines[name].buyer.custody.find(task))
    others = [name for name in names(5) if name != keeper]
    shelf = world.machines[keeper].buyer._book.keeper._shelf
    assert record is not None
    for number in range(100):
        made_up = TaskId(f"{number:016d}".translate(str.maketrans("0189", "abcd")))
        known = replace(record.task_record, task=made_up)
        submitter = PeerId(others[number % len(others)])
        fake = replace(record, task=made_up, submitter=submitter, task_record=known)
        world.tell(keeper, KeepHeard(mallory, fake, is_ours=False))
    brought = [one for one in shelf.kept.values() if one.bringer == mallory]
    assert 0 < sum(one.size for one in brought) <= 5000
    other = world.submit("node-0", steps_task(300, avoid=("node-0",)))
    world.run(30)
    assert len(world.machines["node-0"].buyer.custody.guarded(other).holders) == 2
    newest = max(brought, key=lambda one: one.size)
    grown = replace(
        newest.record,
        seq=newest.record.seq + 1,
        task_record=replace(newest.record.task_record, why="x" * 4000),
    )
    world.tell(keeper, KeepHeard(mallory, grown, is_ours=False))
    assert shelf.kept[grown.task].record.seq == newest.record.seq, "it grows past the share"
    for one in brought:
        shelf.forget(one.record.task)
    assert mallory not in shelf.shares._bytes


def test_a_guardian_that_was_away_while_a_task_ended_asks_for_it_less_and_less() -> None:
    world = MarketWorld(4, names(6))
    world.run(1)
    task = world.submit("node-0", steps_task(60, avoid=("node-0",)))
    world.run(10)
    record = world.machines["node-0"].buyer.custody.find(task)
    provider = world.machines["node-0"].buyer.ledger.get(task).provider
    assert record is not None
    away = next(peer for peer in record.roster if peer not in ("node-0", provider))
    world.kill(away)
    world.run_until_all_ended(300, but=(away,))
    world.run(90)
    assert nobody_keeps(world, task)
    world.machines["node-0"].buyer._book.ledger.forget(
        task, 1
    )  # so that its submitter says nothing
    world.start(away)
    world.run(60)
    world.counts.clear()
    world.run(3600)
    assert world.counts["AskVote"] < 40


def test_an_owner_that_comes_back_does_not_run_again_what_it_is_told_is_over() -> None:
    """Whoever acted has it for its own since: from that one it hears where it went."""
    world = MarketWorld(2, names(5))
    world.run(1)
    task = world.submit("node-0", steps_task(400, avoid=("node-0",)))
    world.run(10)
    world.kill("node-0")
    world.run(60)
    acting = next(
        name
        for name in names(5)[1:]
        if world.machines[name].buyer.custody.post_of(task) is Post.ACTS
    )
    record = world.machines[acting].buyer.custody.find(task)
    assert record is not None
    world.start("node-0")
    world.tell("node-0", KeepHeard(PeerId(acting), record, is_ours=True))
    world.tell("node-0", MessageHeard(PeerId(acting), Relieve(task, is_over=True)))
    submitter = world.machines["node-0"].buyer
    assert not submitter.custody.may_act(task, world.now_s)
    world.run(1)
    assert submitter.custody.find(task) is not None


def test_an_owner_that_only_strangers_answer_for_long_goes_on_alone() -> None:
    """Whoever ended it for this machine is gone for good, and nobody keeps it any more."""
    world = MarketWorld(2, names(5))
    world.run(1)
    task = world.submit("node-0", steps_task(400, avoid=("node-0",)))
    world.run(10)
    world.kill("node-0")
    world.run(60)
    for name in names(5)[1:]:
        world.tell(name, MessageHeard(PeerId("node-0"), Relieve(task, is_over=True)))
    assert nobody_keeps(world, task)
    world.start("node-0")
    world.counts.clear()
    world.run(300)
    submitter = world.machines["node-0"].buyer
    assert submitter.custody.find(task) is not None, "it may be heard of yet"
    assert world.counts["AskVote"] < 60
    world.run_until_all_ended(3600)
    assert submitter.ledger.get(task).state == "done"
