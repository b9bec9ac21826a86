"""Single steps of the membership core: probes, help, doubt of others and of ourselves, pages."""

import random

import msgspec
import pytest

from p2p.effects import Effect, Notify, Send, WakeAt
from p2p.ids import LabId, NetworkId, PeerId
from p2p.limits import (
    ADDRESSES_PER_PEER_MAX,
    FAREWELLS_MAX,
    PAYLOAD_BYTES_MAX,
    RELAYS_MAX,
)
from p2p.membership import events as e
from p2p.membership.config import PROFILES, MembershipConfig
from p2p.membership.core import Membership
from p2p.membership.knowledge import Profile
from p2p.membership.messages import (
    PRESENCE_DOMAIN,
    Ack,
    Nack,
    News,
    Opinion,
    Ping,
    PingRequest,
    Presence,
    Spread,
    SyncOffer,
    SyncPage,
)
from p2p.membership.view import Liveness, MemberChanged
from p2p.wire.codec import Message, encode
from p2p.wire.envelope import Signed, seal
from testnet.sim.signer import KeyedHashSigner

NET = NetworkId("net")
ME, ALICE, BOB, CAROL, DAVE = (PeerId(n) for n in ("me", "alice", "bob", "carol", "dave"))
ALIVE, SUSPECT, DEAD, LEFT = Liveness


def presence(
    peer: PeerId,
    incarnation: int = 1,
    *,
    has_left: bool = False,
    addresses: tuple[str, ...] = ("/memory/x",),
    name: str = "n",
) -> Signed:
    said = Presence(addresses, name, LabId("lab"), "", has_left)
    return seal(
        KeyedHashSigner(peer), NET, PRESENCE_DOMAIN, said, sequence=incarnation, expires_ms=0
    )


class Lab:
    """One core, told by hand."""

    def __init__(self, *others: PeerId, **settings: float) -> None:
        self.now_s = 100.0
        self.core = Membership(
            MembershipConfig(**settings),  # type: ignore[arg-type]
            KeyedHashSigner(ME),
            NET,
            Profile("my name", LabId("lab"), "site"),
            random.Random(1),
            incarnation=10,
        )
        self.tell(e.Begin(("/memory/me",)))
        for peer in others:
            self.hear(Spread(News((presence(peer),))), peer)
        self.tell(e.SpreadDue())

    def tell(self, event: object) -> list[Effect]:
        return self.core.handle(event, self.now_s)

    def hear(self, message: Message, peer: PeerId = ALICE) -> list[Effect]:
        return self.tell(e.Heard(peer, message))

    def accuse(
        self, peer: PeerId, liveness: Liveness, incarnation: int = 1, by: PeerId = ALICE
    ) -> list[Effect]:
        return self.hear(Spread(News((), (Opinion(peer, incarnation, liveness, by),))), by)

    def probe(self) -> tuple[PeerId, int]:
        """The next ping of a round."""
        [(target, ping)] = sent(self.tell(e.ProbeDue()), Ping)
        assert isinstance(ping, Ping)
        return target, ping.sequence

    def liveness(self, peer: PeerId) -> Liveness | None:
        member = self.core.view().find(peer)
        return None if member is None else member.liveness

    @property
    def incarnation(self) -> int:
        member = self.core.view().find(ME)
        assert member is not None
        return member.incarnation


def sent(effects: list[Effect], kind: type[Message]) -> list[tuple[PeerId, Message]]:
    return [
        (f.peer, f.message) for f in effects if isinstance(f, Send) and isinstance(f.message, kind)
    ]


def timers(effects: list[Effect], kind: type) -> list[WakeAt]:
    return [f for f in effects if isinstance(f, WakeAt) and isinstance(f.timer, kind)]


def told(effects: list[Effect]) -> list[tuple[PeerId, Liveness]]:
    return [
        (f.event.member.peer, f.event.member.liveness)
        for f in effects
        if isinstance(f, Notify) and isinstance(f.event, MemberChanged)
    ]


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


@pytest.mark.parametrize(
    "sealed",
    [
        presence(DAVE, addresses=("/memory/x",) * (ADDRESSES_PER_PEER_MAX + 1)),
        presence(DAVE, addresses=("x" * 257,)),
        presence(DAVE, name="n" * 65),
        presence(DAVE, -1),
        presence(DAVE, 1 << 53),
    ],
)
def test_a_presence_out_of_bounds_is_refused(sealed: Signed) -> None:
    lab = Lab(ALICE)
    lab.hear(Spread(News((sealed,))))
    assert lab.liveness(DAVE) is None
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


def test_a_lost_connection_is_probed_once() -> None:
    lab = Lab(ALICE, BOB)
    assert [p for p, _ in sent(lab.tell(e.PeerDown(ALICE)), Ping)] == [ALICE]
    assert sent(lab.tell(e.PeerDown(ALICE)), Ping) == [], "that probe is still under way"
    assert sent(lab.tell(e.PeerDown(DAVE)), Ping) == [], "and strangers are not probed"


def test_a_stranger_is_asked_who_it_is_but_not_all_the_time() -> None:
    lab = Lab()
    assert sent(lab.hear(Ping(1), DAVE), SyncOffer)
    assert not sent(lab.hear(Ping(2), DAVE), SyncOffer)
    lab.now_s += 5
    assert sent(lab.hear(Ping(3), DAVE), SyncOffer)


def test_equal_views_are_found_equal_by_their_digest() -> None:
    lab, same = Lab(ALICE, BOB), Lab(BOB, ALICE)
    [(_, offer)] = sent(lab.tell(e.Join(ALICE)), SyncOffer)
    [(_, page)] = sent(same.hear(offer), SyncPage)
    assert page == SyncPage(PeerId(""), PeerId(""), News(), wants_answer=False, is_last=True)


def test_a_large_view_travels_in_pages_that_fit_and_leave_no_gap() -> None:
    many = [PeerId(f"p{at:03}") for at in range(300)]
    lab = Lab()
    for peer in many:
        addresses = tuple(f"/memory/{'x' * 90}{at}" for at in range(8))
        lab.hear(Spread(News((presence(peer, addresses=addresses),))), peer)
    pages = [m for _, m in sent(lab.hear(SyncOffer(b"other")), SyncPage) if isinstance(m, SyncPage)]
    assert len(pages) > 3
    assert all(len(encode(page)) <= PAYLOAD_BYTES_MAX for page in pages)
    assert [page.low for page in pages[1:]] == [page.high for page in pages[:-1]]
    assert (pages[0].low, pages[-1].high) == ("", "")
    assert [page.is_last for page in pages] == [False] * (len(pages) - 1) + [True]
    assert sum(len(page.news.presences) for page in pages) == 301


def test_a_page_is_answered_by_what_its_sender_lacks_in_that_range() -> None:
    lab = Lab(ALICE, BOB, DAVE)
    page = SyncPage(ALICE, CAROL, News((presence(BOB),)), wants_answer=True, is_last=True)
    assert sent(lab.hear(page), SyncPage) == []
    page = SyncPage(ALICE, CAROL, News(), wants_answer=True, is_last=True)
    [(_, answer)] = sent(lab.hear(page), SyncPage)
    assert isinstance(answer, SyncPage)
    assert [s.sender for s in answer.news.presences] == [BOB]
    assert not answer.wants_answer


def test_a_death_in_a_page_is_only_a_suspicion_and_the_unknown_dead_stay_unknown() -> None:
    lab = Lab(ALICE, BOB)
    dead = tuple(Opinion(peer, 1, DEAD, CAROL) for peer in (BOB, DAVE))
    news = News((presence(BOB), presence(DAVE)), dead)
    lab.hear(SyncPage(PeerId(""), PeerId(""), news, wants_answer=False, is_last=True))
    assert lab.liveness(BOB) is SUSPECT
    assert lab.liveness(DAVE) is None


def test_the_dead_are_tried_again_now_and_then_but_not_those_who_left() -> None:
    lab = Lab(ALICE, BOB)
    lab.accuse(ALICE, DEAD)
    lab.hear(Spread(News((presence(BOB, 2, has_left=True),))), BOB)
    for _ in range(5):
        assert [p for p, _ in sent(lab.tell(e.RecontactDue()), SyncOffer)] == [ALICE]


def test_the_gone_are_forgotten_after_a_day() -> None:
    lab = Lab(ALICE, BOB)
    lab.accuse(ALICE, DEAD)
    lab.now_s += 23 * 3600
    lab.tell(e.SyncDue())
    assert lab.liveness(ALICE) is DEAD
    lab.now_s += 2 * 3600
    lab.tell(e.SyncDue())
    assert lab.liveness(ALICE) is None
    assert lab.liveness(BOB) is ALIVE


def test_a_full_view_gives_up_the_gone_but_no_living_member() -> None:
    lab = Lab(ALICE, BOB, members_max=3)
    lab.hear(Spread(News((presence(CAROL),))), CAROL)
    assert lab.liveness(CAROL) is None
    lab.accuse(ALICE, DEAD)
    lab.hear(Spread(News((presence(CAROL),))), CAROL)
    assert lab.liveness(CAROL) is ALIVE
    assert lab.liveness(ALICE) is None


def test_a_peer_that_brings_too_many_presences_is_throttled_and_others_are_not() -> None:
    lab = Lab(ALICE, BOB, burst=10, presences_per_s=1.0)
    flood = tuple(presence(PeerId(f"p{at}")) for at in range(50))
    lab.hear(Spread(News(flood)), ALICE)
    assert lab.core.throttled == 41, "her own was the first of ten"
    lab.hear(Spread(News(flood)), BOB)
    assert lab.core.throttled == 41 + 32
    lab.hear(Spread(News(flood[:18])), ALICE)
    assert lab.core.throttled == 41 + 32, "what is known already costs nothing"


def test_a_forged_presence_costs_its_carrier_many_true_ones() -> None:
    lab = Lab(ALICE, BOB, burst=10, presences_per_s=1.0)
    forged = msgspec.structs.replace(presence(DAVE), signature=bytes(64))
    lab.hear(Spread(News((forged,))), ALICE)
    assert lab.core.refused == 1
    lab.hear(Spread(News((presence(CAROL),))), ALICE)
    assert lab.core.throttled == 1
    lab.hear(Spread(News((presence(CAROL),))), BOB)
    assert lab.core.throttled == 1


def test_nothing_a_peer_says_makes_our_own_messages_too_long() -> None:
    """Whatever we pass on or repeat has a bound: a longer message would be a bug of ours."""
    lab = Lab(ALICE, BOB, CAROL)
    long = PeerId("1" * 60_000)
    effects = [
        *lab.accuse(BOB, SUSPECT, by=ALICE),
        *lab.hear(Spread(News((), (Opinion(BOB, 1, SUSPECT, long),)))),
        *lab.hear(Spread(News((), (Opinion(CAROL, 1, DEAD, long),)))),
        *lab.hear(SyncPage(long, PeerId(""), News(), wants_answer=True, is_last=True)),
        *lab.hear(SyncPage(PeerId(""), PeerId("z" * 60_000), News(), True, True)),
        *lab.hear(PingRequest(1, long)),
        *lab.hear(SyncOffer(bytes(60_000))),
        *lab.tell(e.SpreadDue()),
        *lab.tell(e.ProbeDue()),
    ]
    sizes = [len(encode(message)) for _, message in sent(effects, Message)]
    assert sizes
    assert max(sizes) < 4096


def test_a_machine_with_many_addresses_tells_the_first_ones() -> None:
    lab = Lab()
    lab.tell(e.Readdressed(("x" * 300, *(f"/memory/{at}" for at in range(20)))))
    me = lab.core.view().find(ME)
    assert me is not None
    assert me.addresses == tuple(f"/memory/{at}" for at in range(ADDRESSES_PER_PEER_MAX))


def test_times_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="suspicion_s"):
        MembershipConfig(suspicion_s=0.5)
    assert PROFILES["test"].suspicion_s < PROFILES["default"].suspicion_s


def of_life(peer: PeerId, life: int, incarnation: int) -> Signed:
    said = Presence((f"/memory/{peer}/{life}",), "n", LabId("lab"), "", life=life)
    return seal(
        KeyedHashSigner(peer), NET, PRESENCE_DOMAIN, said, sequence=incarnation, expires_ms=0
    )


def test_a_key_that_two_machines_speak_with_is_noticed_by_the_others() -> None:
    lab = Lab(ALICE, BOB)
    for step in range(6):
        assert lab.core.twins(lab.now_s) == {}
        lab.hear(Spread(News((of_life(BOB, 100 + step % 2, 200 + step),))))
    assert lab.core.twins(lab.now_s) == {BOB: ("/memory/bob/100", "/memory/bob/101")}
    assert lab.core.twins(lab.now_s + 61) == {}


def test_a_machine_notices_that_another_one_speaks_with_its_key_and_answers_it_calmly() -> None:
    lab = Lab(ALICE, BOB)
    answers = []
    for _ in range(10):
        before = lab.incarnation
        lab.hear(Spread(News((of_life(ME, 500, before + 1),))))
        answers.append(lab.incarnation > before)
        lab.now_s += 1
    assert answers[:2] == [True, True]
    assert not any(answers[2:])
    assert lab.core.twins(lab.now_s) == {ME: ("/memory/me", "/memory/me/500")}
    lab.now_s += 10
    lab.hear(Spread(News((of_life(ME, 500, lab.incarnation + 1),))))
    assert lab.incarnation > before


def test_a_machine_that_restarts_often_is_one_machine() -> None:
    lab = Lab(ALICE, BOB)
    for step in range(20):
        lab.hear(Spread(News((of_life(BOB, 100 + step, 200 + 2 * step),))))
        lab.hear(Spread(News((of_life(BOB, 100 + step, 201 + 2 * step),))))
    lab.hear(Spread(News((of_life(ME, 500, 900),))))  # of our earlier run, its clock was ahead
    assert lab.incarnation == 901
    assert lab.core.twins(lab.now_s) == {}
