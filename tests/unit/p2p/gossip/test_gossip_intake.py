"""What an item must be to be taken; and that cheap checks come before the signature."""

import msgspec
import pytest

from p2p.gossip import events as e
from p2p.gossip.config import GossipConfig
from p2p.gossip.holdings import MARK_S
from p2p.gossip.items import RESOURCES, STORAGE
from p2p.gossip.messages import DOMAINS, Carried, Push
from p2p.ids import NetworkId, PeerId
from p2p.limits import (
    CLOCK_SKEW_MAX_MS,
    GOSSIP_BODY_BYTES_MAX,
    GOSSIP_STRANGERS_MAX,
    GOSSIP_TTL_S_MAX,
    INCARNATION_MAX,
)
from p2p.membership.view import Liveness
from p2p.wire.envelope import SIGNATURE_BYTES
from tests.gossip_lab import ALICE, BOB, CAROL, DAVE, GossipLab, sent, told


def test_a_new_item_is_taken_told_and_kept_under_its_origin_and_kind() -> None:
    lab = GossipLab()
    effects = lab.push(lab.word(BOB, b"cores"), lab.word(BOB, b"shards", kind=STORAGE))
    assert [(i.origin, i.kind, i.body) for i in told(effects)] == [
        (BOB, RESOURCES, b"cores"),
        (BOB, STORAGE, b"shards"),
    ]
    assert lab.bodies() == {BOB: b"cores"}
    assert lab.bodies(STORAGE) == {BOB: b"shards"}


def test_duplicates_and_old_words_cost_no_signature_check() -> None:
    lab = GossipLab()
    word = lab.word(BOB, b"now", sequence=5)
    lab.push(word)
    checked = lab.signer.checked
    for stale in (word, lab.word(BOB, b"old", sequence=4), lab.word(BOB, b"other", sequence=5)):
        assert lab.push(stale, peer=CAROL) == []
    assert lab.signer.checked == checked
    assert lab.bodies() == {BOB: b"now"}


@pytest.mark.parametrize(
    "change",
    [
        {"signature": bytes(SIGNATURE_BYTES)},
        {"signature": b""},
        {"payload": b"\x92\x01\xc4\x04evil"},
        {"sender": CAROL},
        {"sequence": 77},
        {"network": NetworkId("other")},
        {"version": 2},
        {"domain": DOMAINS[STORAGE]},
        {"domain": "swarm/presence"},
        {"domain": "swarm/gossip/17"},
        {"domain": ""},
        {"sequence": -1},
        {"sequence": INCARNATION_MAX},
        {"payload": bytes(GOSSIP_BODY_BYTES_MAX + 33)},
    ],
)
def test_a_changed_item_is_refused(change: dict[str, object]) -> None:
    lab = GossipLab()
    assert lab.push(msgspec.structs.replace(lab.word(BOB, b"true"), **change)) == []
    assert lab.core.refused == 1
    assert lab.bodies() == lab.bodies(STORAGE) == {}


@pytest.mark.parametrize("ttl_ms", [0, -5, round(GOSSIP_TTL_S_MAX * 1000) + 1, 1 << 62])
def test_a_life_out_of_bounds_is_refused(ttl_ms: int) -> None:
    lab = GossipLab()
    assert lab.push(lab.word(BOB, ttl_ms=ttl_ms)) == []
    assert lab.core.refused == 1


def test_a_body_that_is_too_long_is_refused_however_it_is_packed() -> None:
    lab = GossipLab()
    assert lab.push(lab.word(BOB, bytes(GOSSIP_BODY_BYTES_MAX + 1))) == []
    assert lab.core.refused == 1


@pytest.mark.parametrize("ahead_ms", [-CLOCK_SKEW_MAX_MS + 1, 0, CLOCK_SKEW_MAX_MS])
def test_clocks_may_differ_by_two_minutes(ahead_ms: int) -> None:
    """The origin's clock, against ours: items still live as long as they should."""
    lab = GossipLab()
    lab.push(lab.word(BOB, b"here", signed_ms=lab.true_ms() + ahead_ms))
    lab.now_s += 34.9
    assert lab.bodies() == {BOB: b"here"}
    lab.now_s += 0.2
    assert lab.bodies() == {}


@pytest.mark.parametrize("ahead_ms", [-CLOCK_SKEW_MAX_MS - 35_000, CLOCK_SKEW_MAX_MS + 1])
def test_an_item_from_too_far_away_in_time_is_refused(ahead_ms: int) -> None:
    lab = GossipLab()
    lab.push(lab.word(BOB, signed_ms=lab.true_ms() + ahead_ms))
    assert lab.bodies() == {}
    assert lab.core.refused == 1


def test_an_item_lives_no_longer_than_its_carrier_knows_it_to() -> None:
    lab = GossipLab()
    lab.push(lab.word(BOB, b"late"), left_ms=1000)
    lab.now_s += 1.0
    assert lab.bodies() == {}


def test_no_carrier_can_make_an_item_live_longer_than_its_signed_life_from_arrival() -> None:
    lab = GossipLab()
    word = lab.word(BOB, b"x", ttl_ms=10_000, signed_ms=lab.true_ms() + CLOCK_SKEW_MAX_MS)
    for _ in range(9):
        lab.push(word, left_ms=1 << 40)
        assert lab.bodies() == {BOB: b"x"}
        lab.now_s += 1.0
    lab.now_s += 1.1
    assert lab.bodies() == {}
    lab.push(word, left_ms=1 << 40)
    assert lab.bodies() == {}, "it had its life"


def test_a_carrier_that_tells_too_short_a_life_is_corrected_by_the_next() -> None:
    lab = GossipLab()
    word = lab.word(BOB, b"x")
    lab.push(word, left_ms=1)
    lab.now_s += 1.0
    assert lab.bodies() == {}
    lab.push(word, left_ms=34_000, peer=CAROL)
    assert lab.bodies() == {BOB: b"x"}


def test_another_word_of_the_same_sequence_prolongs_nothing() -> None:
    lab = GossipLab()
    lab.push(lab.word(BOB, b"one", sequence=3), left_ms=1000)
    lab.push(lab.word(BOB, b"two", sequence=3), left_ms=30_000)
    lab.now_s += 1.5
    assert lab.bodies() == {}


def test_no_older_item_is_taken_after_a_newer_one_is_over() -> None:
    lab = GossipLab()
    hour_ms = round(GOSSIP_TTL_S_MAX * 1000)
    older = lab.word(BOB, b"older", sequence=1, ttl_ms=hour_ms)
    lab.push(lab.word(BOB, b"newer", sequence=2, ttl_ms=1000), left_ms=1000)
    for _ in range(80):
        lab.now_s += 60
        lab.core.handle(e.ReconcileDue(), lab.now_s)
        lab.push(older, left_ms=hour_ms)
        assert lab.bodies() == {}
    assert lab.now_s - 1000 > MARK_S, "its sequence has been forgotten by now"
    assert lab.core.refused > 0, "and its time is over"


@pytest.mark.parametrize("left_ms", [0, -1, -(1 << 62)])
def test_an_item_without_life_left_is_refused(left_ms: int) -> None:
    lab = GossipLab()
    lab.push(lab.word(BOB), left_ms=left_ms)
    assert lab.bodies() == {}
    assert lab.core.refused == 1


def test_items_of_strangers_wait_unchecked_until_they_are_members() -> None:
    lab = GossipLab()
    assert lab.push(lab.word(DAVE, b"hi")) == []
    assert lab.signer.checked == 0
    assert lab.bodies() == {}
    lab.put(DAVE)
    effects = lab.core.handle(e.MemberUp(DAVE), lab.now_s)
    assert [item.body for item in told(effects)] == [b"hi"]
    assert {peer for peer, _ in sent(effects, Push)} == {BOB, CAROL}
    assert lab.bodies() == {DAVE: b"hi"}


def test_what_waited_longer_than_its_life_is_over() -> None:
    lab = GossipLab()
    lab.push(lab.word(DAVE, b"hi"), left_ms=2000)
    lab.now_s += 3
    lab.put(DAVE)
    lab.core.handle(e.MemberUp(DAVE), lab.now_s)
    assert lab.bodies() == {}


def test_only_so_many_strangers_are_remembered_the_last_ones() -> None:
    lab = GossipLab()
    strangers = [PeerId(f"s{at:04}") for at in range(GOSSIP_STRANGERS_MAX + 10)]
    for stranger in strangers:
        lab.push(lab.word(stranger, b"hi"))
    for stranger in strangers:
        lab.put(stranger)
        lab.core.handle(e.MemberUp(stranger), lab.now_s)
    assert list(lab.bodies()) == strangers[10:]


def test_a_peer_that_brings_too_much_is_throttled_and_others_are_not() -> None:
    lab = GossipLab(config=GossipConfig(burst=5, items_per_s=1.0))
    for sequence in range(1, 20):
        lab.push(lab.word(BOB, sequence=sequence))
    assert lab.signer.checked == 5
    assert lab.core.throttled == 14
    lab.push(lab.word(CAROL, b"fine"), peer=CAROL)
    assert CAROL in lab.bodies()
    lab.now_s += 2
    for sequence in range(20, 30):
        lab.push(lab.word(BOB, sequence=sequence))
    assert lab.signer.checked == 8


def test_forgeries_are_paid_for_by_whoever_brings_them() -> None:
    lab = GossipLab(config=GossipConfig(burst=5, items_per_s=0.001))
    forged = msgspec.structs.replace(lab.word(CAROL), signature=bytes(64))
    for sequence in range(100):
        lab.push(msgspec.structs.replace(forged, sequence=sequence))
    assert lab.signer.checked == 1  # that one cost more than the whole bucket holds
    lab.push(lab.word(CAROL, b"true"), peer=CAROL)
    assert lab.bodies() == {CAROL: b"true"}


@pytest.mark.parametrize("gone", [Liveness.DEAD, Liveness.LEFT])
def test_items_of_gone_members_are_hidden_those_of_suspects_are_not(gone: Liveness) -> None:
    lab = GossipLab()
    lab.push(lab.word(BOB, b"x"))
    lab.put(BOB, Liveness.SUSPECT)
    assert lab.bodies() == {BOB: b"x"}
    lab.put(BOB, gone)
    assert lab.bodies() == {}


def test_our_own_later_word_from_an_earlier_life_makes_us_speak_louder() -> None:
    lab = GossipLab()
    lab.core.handle(e.Publish(RESOURCES, b"this life", 35), lab.now_s)
    echo = lab.word(ALICE, b"earlier", sequence=lab.true_ms() + 50_000)
    effects = lab.push(echo)
    assert lab.bodies() == {ALICE: b"this life"}
    pushed = [m for _, m in sent(effects, Push) if isinstance(m, Push)]
    assert pushed
    assert all(push.items[0].sealed.sequence > echo.sequence for push in pushed)
    assert {peer for peer, _ in sent(effects, Push)} == {BOB, CAROL}


def test_nobody_can_speak_in_our_name() -> None:
    lab = GossipLab()
    lab.core.handle(e.Publish(RESOURCES, b"ours", 35), lab.now_s)
    fake = msgspec.structs.replace(lab.word(ALICE, b"fake", sequence=1 << 50), signature=bytes(64))
    assert lab.push(fake) == []
    assert lab.bodies() == {ALICE: b"ours"}
    lab.core.handle(e.Publish(RESOURCES, b"next", 35), lab.now_s)
    assert lab.core.items(RESOURCES, lab.now_s)[ALICE].sequence < 1 << 50


def test_sequences_grow_even_when_the_wall_clock_does_not() -> None:
    lab = GossipLab()
    seen = []
    for step_ms in (0, 0, -60_000, 5):
        lab.ahead_ms += step_ms
        lab.core.handle(e.Publish(RESOURCES, b"", 35), lab.now_s)
        seen.append(lab.core.items(RESOURCES, lab.now_s)[ALICE].sequence)
    assert seen == sorted(set(seen))
    assert seen[0] == lab.true_ms()


def test_many_items_in_one_message_are_judged_one_by_one() -> None:
    lab = GossipLab()
    bad = msgspec.structs.replace(lab.word(BOB, b"bad", sequence=9), signature=bytes(64))
    good = lab.word(CAROL, b"good")
    lab.hear(Push(1, (Carried(1000, bad), Carried(1000, good))))
    assert lab.bodies() == {CAROL: b"good"}


def test_the_items_of_a_kind_are_the_same_mapping_until_something_changes() -> None:
    lab = GossipLab()
    lab.push(lab.word(BOB, b"x"), left_ms=5000)
    before = lab.core.items(1, lab.now_s)
    assert lab.core.items(1, lab.now_s + 4.9) is before
    assert lab.core.items(1, lab.now_s + 5.1) == {}
    lab.push(lab.word(CAROL, b"y"))
    assert list(lab.core.items(1, lab.now_s)) == [BOB, CAROL]
    assert list(before) == [BOB]
