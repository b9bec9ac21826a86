"""What is known of everybody: exchanged in pages, bounded, forgotten."""

import msgspec
import pytest

from p2p.ids import PeerId
from p2p.limits import ADDRESSES_PER_PEER_MAX, PAYLOAD_BYTES_MAX
from p2p.membership import events as e
from p2p.membership.config import PROFILES, MembershipConfig
from p2p.membership.messages import News, Opinion, Ping, PingRequest, Spread, SyncOffer, SyncPage
from p2p.wire.codec import Message, encode
from p2p.wire.envelope import Signed
from tests.membership_lab import (
    ALICE,
    ALIVE,
    BOB,
    CAROL,
    DAVE,
    DEAD,
    ME,
    SUSPECT,
    Lab,
    presence,
    sent,
)


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


def test_a_stranger_is_asked_who_it_is_but_not_all_the_time() -> None:
    lab = Lab()
    assert sent(lab.hear(Ping(1), DAVE), SyncOffer)
    assert not sent(lab.hear(Ping(2), DAVE), SyncOffer)
    lab.now_s += 5
    assert sent(lab.hear(Ping(3), DAVE), SyncOffer)


def test_equal_views_are_found_equal_by_their_digest() -> None:
    lab, same = Lab(ALICE, BOB), Lab(BOB, ALICE)
    [(_, offer)] = sent(lab.tell(e.Join(ALICE)), SyncOffer)
    assert isinstance(offer, SyncOffer)
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
