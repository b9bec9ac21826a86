"""When keepers agree, who becomes one, and the table of what a keeper does."""

from itertools import product

import msgspec
import pytest

from p2p.ids import LabId, PeerId
from p2p.membership.view import Liveness
from swarmnode.market.guardians.kept import STEPS, Post, Turn
from swarmnode.market.guardians.records import GuardRecord, is_majority
from swarmnode.market.guardians.roster import KeeperRoster
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec import TaskSpec

ALICE, BOB, CAROL, DAVE = (PeerId(name) for name in ("alice", "bob", "carol", "dave"))
TASK = TaskId("a" * 16)


def record(*roster: PeerId, before: tuple[PeerId, ...] = ()) -> GuardRecord:
    known = TaskRecord(TASK, TaskSpec(("true",)), 1000)
    return GuardRecord(TASK, ALICE, 1, 1, ALICE, roster, before, known)


@pytest.mark.parametrize(("post", "turn"), list(product(Post, Turn)))
def test_only_who_stands_can_win_and_only_who_acts_or_keeps_can_be_outranked(
    post: Post, turn: Turn
) -> None:
    after = STEPS.get((post, turn))
    match turn:
        case Turn.WON:
            assert after is (Post.ACTS if post is Post.STANDS else None)
        case Turn.OUTRANKED | Turn.GAVE_WAY:
            assert after is Post.KEEPS
        case Turn.SILENT:
            assert after is (None if post is Post.ACTS else Post.STANDS)


def test_two_of_three_agree_and_of_two_one_is_enough() -> None:
    three = (ALICE, BOB, CAROL)
    assert not is_majority(three, {ALICE})
    assert is_majority(three, {BOB, CAROL})
    assert not is_majority(three, {ALICE, DAVE})
    assert is_majority((ALICE, BOB), {BOB})


def test_what_may_not_run_twice_needs_both_of_two() -> None:
    assert record(ALICE, BOB).agreed({BOB})
    assert not record(ALICE, BOB).settled({BOB})
    assert record(ALICE, BOB).settled({ALICE, BOB})


def test_a_change_of_keepers_is_agreed_by_those_before_and_after_it() -> None:
    changing = record(ALICE, BOB, DAVE, before=(ALICE, BOB, CAROL))
    assert changing.agreed({ALICE, BOB})
    assert not changing.agreed({ALICE, CAROL})
    assert not changing.agreed({BOB, DAVE})


def members(**liveness: Liveness) -> KeeperRoster:
    roster = KeeperRoster(ALICE, 2)
    for name, how in liveness.items():
        roster.stands(PeerId(name), how, LabId("lab"))
    return roster


def test_a_dead_keeper_is_replaced_and_kept_where_nobody_can_replace_it() -> None:
    three = record(ALICE, BOB, CAROL)
    up = Liveness.ALIVE
    replaced = members(alice=up, bob=up, carol=Liveness.DEAD, dave=up).wanted(three)
    assert replaced == (ALICE, BOB, DAVE)
    assert members(alice=up, bob=up, carol=Liveness.DEAD).wanted(three) == (ALICE, BOB, CAROL)
    assert members(alice=up, bob=up, carol=Liveness.LEFT).wanted(three) == (ALICE, BOB)


def test_members_of_the_same_lab_keep_a_task_first() -> None:
    roster = KeeperRoster(ALICE, 2)
    labs = {ALICE: "physics", BOB: "biology", CAROL: "physics", DAVE: "physics"}
    for peer, lab in labs.items():
        roster.stands(peer, Liveness.ALIVE, LabId(lab))
    assert roster.wanted(record(ALICE)) == (ALICE, CAROL, DAVE)


def test_who_says_that_it_knows_secrets_and_is_of_the_lab_keeps_a_task_that_has_some() -> None:
    up, spec = Liveness.ALIVE, TaskSpec(("true",), secrets=(("hf", "HF"),))
    roster = members(alice=up, bob=up, carol=up)
    roster.stands(DAVE, up, LabId("theirs"))

    def wanted(spec: TaskSpec) -> tuple[PeerId, ...]:
        one = record(ALICE)
        known = msgspec.structs.replace(one.task_record, spec=spec)
        return roster.wanted(msgspec.structs.replace(one, task_record=known))

    assert wanted(spec) == (ALICE,)  # as machines of before would hand it on without them
    for peer in (CAROL, DAVE):
        roster.knows_secrets(peer, knows=True)
    assert wanted(spec) == (ALICE, CAROL)
    assert wanted(msgspec.structs.replace(spec, secret_to=("any",))) == (ALICE, CAROL, DAVE)
    roster.knows_secrets(CAROL, knows=False)
    assert wanted(spec) == (ALICE,)
    assert len(wanted(TaskSpec(("true",)))) == 3
