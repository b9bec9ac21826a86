"""Who lives: pings, helpers, suspicion, death."""

import pytest

from p2p.ids import PeerId
from p2p.limits import RELAYS_MAX
from p2p.membership import events as e
from p2p.membership.messages import Ack, Nack, Ping, PingRequest, Spread
from tests.membership_lab import ALICE, BOB, CAROL, DAVE, DEAD, ME, SUSPECT, Lab, sent, timers, told


def test_alone_we_are_alive_and_ping_nobody() -> None:
    lab = Lab()
    assert [m.peer for m in lab.core.view().alive()] == [ME]
    assert sent(lab.tell(e.ProbeDue()), Ping) == []


def test_every_member_is_pinged_once_in_each_round() -> None:
    lab = Lab(ALICE, BOB, CAROL)
    for _ in range(3):
        assert {lab.probe()[0] for _ in range(3)} == {ALICE, BOB, CAROL}


def test_a_ping_is_answered_by_its_sequence() -> None:
    lab = Lab(ALICE)
    [(to, ack)] = sent(lab.hear(Ping(77)), Ack)
    assert to == ALICE
    assert isinstance(ack, Ack)
    assert ack.sequence == 77


def test_a_silent_member_is_pinged_by_helpers_then_suspected_then_dead() -> None:
    lab = Lab(ALICE, BOB, CAROL, DAVE)
    target, sequence = lab.probe()
    asked = sent(lab.tell(e.PingLate(sequence)), PingRequest)
    assert len(asked) == 3
    assert target not in {helper for helper, _ in asked}
    lab.now_s += 2
    effects = lab.tell(e.ProbeOver(sequence))
    assert told(effects) == [(target, SUSPECT)]
    assert target in {peer for peer, _ in sent(effects, Spread)}, "it shall object"
    [due] = timers(effects, e.SuspicionOver)
    assert due.deadline_s == lab.now_s + 3 * lab.core._config.suspicion_s
    lab.now_s = due.deadline_s
    assert told(lab.tell(due.timer)) == [(target, DEAD)]


def test_an_answer_by_any_way_ends_the_probe() -> None:
    for by_helper in (False, True):
        lab = Lab(ALICE, BOB)
        target, sequence = lab.probe()
        helper = BOB if target == ALICE else ALICE
        lab.tell(e.PingLate(sequence))
        lab.hear(Ack(sequence), helper if by_helper else target)
        assert told(lab.tell(e.ProbeOver(sequence))) == []


def test_an_answer_of_somebody_else_ends_nothing() -> None:
    lab = Lab(ALICE, BOB, CAROL)
    target, sequence = lab.probe()
    for other in (p for p in (ALICE, BOB, CAROL) if p != target):
        lab.hear(Ack(sequence), other)
    assert told(lab.tell(e.ProbeOver(sequence))) == [(target, SUSPECT)]


def test_a_helper_passes_on_the_answer_or_says_that_none_came() -> None:
    lab = Lab(ALICE, BOB)
    for answers in (True, False):
        [(to, ping)] = sent(lab.hear(PingRequest(5, BOB)), Ping)
        assert to == BOB
        assert isinstance(ping, Ping)
        if answers:
            effects = lab.hear(Ack(ping.sequence), BOB)
            assert [(p, m.sequence) for p, m in sent(effects, Ack) if isinstance(m, Ack)] == [
                (ALICE, 5)
            ]
        effects = lab.tell(e.RelayOver(ping.sequence))
        assert sent(effects, Nack) == ([] if answers else [(ALICE, Nack(5))])


def test_a_helper_does_not_ping_strangers_nor_without_bound() -> None:
    lab = Lab(ALICE, BOB)
    assert sent(lab.hear(PingRequest(5, DAVE)), Nack) == [(ALICE, Nack(5))]
    for sequence in range(RELAYS_MAX):
        assert sent(lab.hear(PingRequest(sequence, BOB)), Ping)
    assert sent(lab.hear(PingRequest(9999, BOB)), Nack) == [(ALICE, Nack(9999))]


def test_silence_of_helpers_too_speaks_against_ourselves() -> None:
    lab = Lab(ALICE, BOB, CAROL, DAVE)
    assert lab.core.slowdown == 1
    _, sequence = lab.probe()
    lab.tell(e.PingLate(sequence))
    lab.tell(e.ProbeOver(sequence))
    assert lab.core.slowdown == 4
    [again] = timers(lab.tell(e.ProbeDue()), e.ProbeDue)
    assert again.deadline_s == lab.now_s + 4


def test_helpers_that_are_well_say_that_it_is_not_us() -> None:
    lab = Lab(ALICE, BOB, CAROL, DAVE)
    _, sequence = lab.probe()
    for helper, _ in sent(lab.tell(e.PingLate(sequence)), PingRequest):
        lab.hear(Nack(sequence), helper)
    lab.tell(e.ProbeOver(sequence))
    assert lab.core.slowdown == 1


def test_confirmations_of_others_shorten_the_time_to_object() -> None:
    lab = Lab(ALICE, BOB, CAROL, DAVE)
    shortest_s = lab.core._config.suspicion_s
    dues = []
    for accuser in (BOB, CAROL, DAVE):
        [due] = timers(lab.accuse(ALICE, SUSPECT, by=accuser), e.SuspicionOver)
        dues.append(due.deadline_s - lab.now_s)
    assert dues[0] == pytest.approx(3 * shortest_s)
    assert dues[0] > dues[1] > dues[2] == pytest.approx(shortest_s)
    assert timers(lab.accuse(ALICE, SUSPECT, by=BOB), e.SuspicionOver) == [], "said already"


@pytest.mark.parametrize("others", [(ALICE,), (ALICE, BOB), (ALICE, BOB, CAROL)])
def test_where_nobody_could_confirm_the_shortest_time_applies(others: tuple[PeerId, ...]) -> None:
    """With others than the suspect and us there must be two who could."""
    lab = Lab(*others)
    [due] = timers(lab.accuse(ALICE, SUSPECT, by=ME), e.SuspicionOver)
    expected = 1 if len(others) < 3 else 3
    assert due.deadline_s - lab.now_s == pytest.approx(expected * lab.core._config.suspicion_s)


def test_a_lost_connection_is_probed_once() -> None:
    lab = Lab(ALICE, BOB)
    assert [p for p, _ in sent(lab.tell(e.PeerDown(ALICE)), Ping)] == [ALICE]
    assert sent(lab.tell(e.PeerDown(ALICE)), Ping) == [], "that probe is still under way"
    assert sent(lab.tell(e.PeerDown(DAVE)), Ping) == [], "and strangers are not probed"
