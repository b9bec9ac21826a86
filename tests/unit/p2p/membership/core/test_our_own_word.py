"""What is said of ourselves: objected to, outdone, and our goodbye."""

import pytest

from p2p.ids import PeerId
from p2p.limits import FAREWELLS_MAX
from p2p.membership import events as e
from p2p.membership.messages import PRESENCE_DOMAIN, News, Opinion, Ping, Spread
from p2p.membership.view import Liveness
from p2p.wire.envelope import Signed
from tests.membership_lab import (
    ALICE,
    ALIVE,
    BOB,
    DEAD,
    LEFT,
    ME,
    NET,
    SUSPECT,
    Lab,
    presence,
    sent,
    timers,
    told,
)


@pytest.mark.parametrize("liveness", [SUSPECT, DEAD])
def test_we_object_to_doubts_about_us_by_a_higher_incarnation(liveness: Liveness) -> None:
    lab = Lab(ALICE)
    effects = lab.accuse(ME, liveness, incarnation=10)
    assert lab.incarnation == 11
    assert lab.liveness(ME) is ALIVE
    assert told(effects) == [], "our own side need not know"
    [(_, spread)] = sent(lab.tell(e.SpreadDue()), Spread)
    assert isinstance(spread, Spread)
    assert 11 in [s.sequence for s in spread.news.presences if s.sender == ME]


def test_whoever_missed_our_objection_is_told_again_once_per_message() -> None:
    lab = Lab(ALICE)
    lab.accuse(ME, SUSPECT, incarnation=10)
    late = News((), tuple(Opinion(ME, n, SUSPECT, ALICE) for n in range(10)))
    [(to, spread)] = sent(lab.hear(Spread(late)), Spread)
    assert to == ALICE
    assert isinstance(spread, Spread)
    assert [s.sequence for s in spread.news.presences] == [11]


def test_doubts_about_an_incarnation_we_never_had_are_nothing() -> None:
    lab = Lab(ALICE)
    assert lab.accuse(ME, DEAD, incarnation=1 << 52) == []
    assert lab.incarnation == 10


def test_an_earlier_life_with_a_faster_clock_is_outdone() -> None:
    lab = Lab(ALICE)
    lab.hear(Spread(News((presence(ME, 500),))))
    assert lab.incarnation == 501


def test_no_presence_of_ours_that_we_did_not_sign_is_believed() -> None:
    lab = Lab(ALICE)
    forged = Signed(1, NET, PRESENCE_DOMAIN, ME, 500, 0, presence(ME).payload, bytes(64))
    lab.hear(Spread(News((forged,))))
    assert lab.incarnation == 10
    assert lab.core.refused == 1


def test_leaving_is_told_to_everybody_directly_up_to_a_bound() -> None:
    many = [PeerId(f"p{at:03}") for at in range(FAREWELLS_MAX + 20)]
    lab = Lab(*many)
    effects = lab.tell(e.Leave())
    assert len({peer for peer, _ in sent(effects, Ping)}) == FAREWELLS_MAX
    assert len(timers(effects, e.ProbeOver)) == FAREWELLS_MAX, "no probe stays open"
    assert lab.liveness(ME) is LEFT
    assert lab.tell(e.Leave()) == []


def test_having_left_we_neither_probe_nor_accuse_nor_object() -> None:
    lab = Lab(ALICE, BOB)
    _, sequence = lab.probe()
    lab.tell(e.Leave())
    incarnation = lab.incarnation
    assert sent(lab.tell(e.ProbeDue()), Ping) == []
    assert lab.tell(e.ProbeOver(sequence)) == []
    assert lab.tell(e.PeerDown(ALICE)) == []
    lab.accuse(ME, DEAD, incarnation=incarnation)
    assert lab.incarnation == incarnation
