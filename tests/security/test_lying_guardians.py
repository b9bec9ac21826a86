"""A keeper of a task makes numbers up: it ends nobody's turn but, for a while, its own."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import pytest
from msgspec.structs import replace

from p2p.effects import Notify, Send, WakeAt
from p2p.ids import LabId, PeerId
from p2p.membership.view import Liveness
from swarmnode.market.counting import LEAP_MAX, TERM_MAX
from swarmnode.market.guardians import events as g
from swarmnode.market.guardians.config import GuardianConfig
from swarmnode.market.guardians.core import Keeper
from swarmnode.market.guardians.kept import Post
from swarmnode.market.guardians.messages import (
    AskVote,
    ComeHome,
    GuardBeat,
    GuardHeard,
    GuardLine,
    KeeperMessage,
    Vote,
)
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec import TaskSpec

ALICE, BOB, CAROL = (PeerId(name) for name in ("alice", "bob", "carol"))
TASK = TaskId("a" * 16)
RECORD = GuardRecord(
    TASK, ALICE, 1, 1, ALICE, (ALICE, BOB, CAROL), (),
    TaskRecord(TASK, TaskSpec(("true",)), 1000),
)  # fmt: skip
MADE_UP = [TERM_MAX, TERM_MAX - 1, 2**60, LEAP_MAX + 2]


def no_home(_record: TaskRecord) -> ComeHome:
    raise AssertionError("nobody has moved")


@dataclass
class Three:
    """The keepers of one task; Carol says what the test likes, every second."""

    keepers: dict[PeerId, Keeper] = field(default_factory=dict)
    due: list[tuple[float, int, PeerId, object, PeerId | None]] = field(default_factory=list)
    numbers: "count[int]" = field(default_factory=count)
    now_s: float = 0.0
    lost: frozenset[PeerId] = frozenset()

    def begin(self) -> None:
        for me in (ALICE, BOB):
            self.keepers[me] = Keeper(
                GuardianConfig(), me, lambda _task: None, lambda _record, _peer: None, no_home
            )
            for peer in (ALICE, BOB, CAROL):
                self.post(me, g.KeeperStands(peer, Liveness.ALIVE, LabId("lab")), 0)
            self.post(me, g.GuardsLoaded((RECORD,)), 0)

    def post(self, to: PeerId, what: object, at_s: float, by: PeerId | None = None) -> None:
        heapq.heappush(self.due, (at_s, next(self.numbers), to, what, by))

    def run(self, until_s: float, carol: Callable[["Three"], None]) -> None:
        next_s = self.now_s
        while self.now_s < until_s:
            if self.now_s >= next_s:
                carol(self)
                next_s += 1
            at_s, _, to, what, by = heapq.heappop(self.due)
            self.now_s = max(self.now_s, at_s)
            if to not in self.keepers or to in self.lost:
                continue
            core = self.keepers[to]
            if isinstance(what, KeeperMessage):
                assert by is not None
                effects = core.hear(by, what, self.now_s)
            else:
                assert isinstance(what, g.Event)
                effects = core.handle(what, self.now_s)
            core.check_invariants()
            for effect in effects:
                self.perform(to, effect)

    def perform(self, me: PeerId, effect: g.Effect) -> None:
        match effect:
            case Send(peer, message):
                self.post(peer, message, self.now_s + 0.01, me)
            case WakeAt(at_s, event):
                self.post(me, event, at_s)
            case Notify(g.Carry(peer, record)):
                self.post(peer, g.KeepHeard(me, record), self.now_s + 0.01, me)

    def say(self, *messages: object) -> None:
        for peer in (ALICE, BOB):
            for message in messages:
                self.post(peer, message, self.now_s, CAROL)


def numbers(made_up: int) -> Callable[[Three], None]:
    def carol(three: Three) -> None:
        line = GuardLine(TASK, made_up, 1)
        known = replace(RECORD.task_record, fence=made_up)
        three.say(
            GuardBeat(1, (line,)),
            GuardHeard(0, (line,)),
            Vote(TASK, 1, granted=False, known_term=made_up),
            AskVote(TASK, made_up, made_up, 1),
            g.KeepHeard(CAROL, replace(RECORD, term=made_up, acting=CAROL)),
            g.KeepHeard(CAROL, replace(RECORD, term=9, acting=CAROL, task_record=known)),
        )

    return carol


@pytest.mark.parametrize("made_up", MADE_UP)
def test_who_acts_goes_on_whatever_terms_another_keeper_names(made_up: int) -> None:
    three = Three()
    three.begin()
    three.run(120, numbers(made_up))
    assert three.keepers[ALICE].custody.post_of(TASK) is Post.ACTS
    assert three.keepers[ALICE].custody.may_act(TASK, three.now_s)
    for keeper in three.keepers.values():
        record = keeper.custody.find(TASK)
        assert record is not None
        assert (record.term, record.acting) == (1, ALICE)
        assert record.task_record.fence == RECORD.task_record.fence


def test_a_keeper_cannot_make_another_task_of_it() -> None:
    def carol(three: Three) -> None:
        other = replace(RECORD.task_record, spec=TaskSpec(("rm", "-rf", ".")))
        three.say(g.KeepHeard(CAROL, replace(RECORD, term=5, acting=CAROL, task_record=other)))

    three = Three()
    three.begin()
    three.run(60, carol)
    for keeper in three.keepers.values():
        record = keeper.custody.find(TASK)
        assert record is not None
        assert record.task_record.spec == RECORD.task_record.spec


def test_the_owner_has_it_back_after_a_keeper_took_one_term_after_another() -> None:
    terms = count(2)

    def carol(three: Three) -> None:
        if three.now_s < 60:
            three.say(GuardBeat(1, (GuardLine(TASK, next(terms) * 1000, 1),)))

    three = Three()
    three.begin()
    three.run(180, carol)
    assert three.keepers[ALICE].custody.post_of(TASK) is Post.ACTS
    assert three.keepers[ALICE].custody.may_act(TASK, three.now_s)
