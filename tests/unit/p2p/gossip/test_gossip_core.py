"""Who is told of what: push with bounded hops and fanout, digests that mend the rest."""

import struct

import pytest

from p2p.buckets import Buckets
from p2p.effects import WakeAt
from p2p.gossip import events as e
from p2p.gossip.config import PROFILES, GossipConfig
from p2p.gossip.items import RESOURCES, STORAGE, Item
from p2p.gossip.messages import Carried, Digest, GossipMessage, Push, Want
from p2p.gossip.pages import digest_of, pages_in, read_digest
from p2p.gossip.table import KEY_MAX, ItemRow, ItemTable, key_of
from p2p.ids import PeerId
from p2p.limits import (
    GOSSIP_BODY_BYTES_MAX,
    GOSSIP_DIGEST_ENTRIES_MAX,
    PAYLOAD_BYTES_MAX,
    PEERS_MAX,
)
from p2p.membership.view import Liveness
from p2p.wire.codec import encode
from tests.gossip_lab import ALICE, BOB, CAROL, GossipLab, sent, told

MANY = tuple(PeerId(f"p{at:02}") for at in range(20))
ALL = (0, KEY_MAX)


def pushes(effects: list[e.Effect]) -> list[tuple[PeerId, Push]]:
    return [(p, m) for p, m in sent(effects) if isinstance(m, Push)]


def row_of(peer: PeerId) -> ItemRow:
    item = Item(peer, RESOURCES, 1, 0, b"")
    return ItemRow(key_of(peer, RESOURCES), item, GossipLab().word(peer), 9e9, 9e9, 9e9)


def lab_of(count: int, **settings: int) -> GossipLab:
    return GossipLab(others=MANY[:count], config=GossipConfig(**settings))


def test_a_word_of_ours_goes_to_a_few_living_others_with_all_hops() -> None:
    lab = lab_of(20, fanout=4, hops_max=6)
    for peer in MANY[:10]:
        lab.put(peer, Liveness.DEAD)
    made = pushes(lab.core.handle(e.Publish(RESOURCES, b"x", 35), lab.now_s))
    assert len({peer for peer, _ in made}) == len(made) == 4
    assert all(peer in MANY[10:] and push.hops == 5 for peer, push in made)


def test_alone_nothing_is_sent() -> None:
    lab = GossipLab(others=())
    effects = lab.core.handle(e.Publish(RESOURCES, b"x", 35), lab.now_s)
    assert sent(effects) == []
    assert [item.body for item in told(effects)] == [b"x"]
    assert sent(lab.core.handle(e.ReconcileDue(), lab.now_s)) == []


@pytest.mark.parametrize(("hops", "passed_on"), [(0, None), (1, 0), (4, 3), (99, 5), (-7, None)])
def test_what_is_new_is_passed_on_with_one_hop_less(hops: int, passed_on: int | None) -> None:
    lab = lab_of(20, hops_max=6)
    made = pushes(lab.push(lab.word(MANY[0]), peer=MANY[1], hops=hops))
    assert {push.hops for _, push in made} == (set() if passed_on is None else {passed_on})


def test_what_is_passed_on_goes_neither_back_nor_to_its_origin() -> None:
    lab = lab_of(3, fanout=4)
    made = pushes(lab.push(lab.word(MANY[0]), peer=MANY[1]))
    assert [peer for peer, _ in made] == [MANY[2]]


def test_a_second_copy_is_not_passed_on() -> None:
    lab = lab_of(20)
    word = lab.word(MANY[0])
    assert pushes(lab.push(word, peer=MANY[1]))
    assert lab.push(word, peer=MANY[2]) == []


def test_whatever_is_pushed_fits_a_message() -> None:
    lab = lab_of(20)
    body = bytes(GOSSIP_BODY_BYTES_MAX)
    for peer in MANY:
        lab.push(*(lab.word(peer, body, kind=kind) for kind in range(1, 15)), peer=peer)
    answer = pushes(lab.hear(Digest(*ALL, b"")))
    assert sum(len(push.items) for _, push in answer) == 20 * 14
    assert all(len(encode(push)) <= PAYLOAD_BYTES_MAX for _, push in answer)


def test_a_digest_is_answered_by_what_it_lacks_and_a_want_of_what_we_lack() -> None:
    lab, other = GossipLab(me=ALICE, others=(BOB, CAROL)), GossipLab(me=BOB, others=(ALICE, CAROL))
    lab.core.handle(e.Publish(RESOURCES, b"alice's", 35), lab.now_s)
    other.core.handle(e.Publish(RESOURCES, b"bob's", 35), other.now_s)
    for one, body, sequence in ((lab, b"new", 2), (other, b"old", 1)):
        one.push(one.word(CAROL, body, sequence=sequence), peer=CAROL, hops=0)
    [(to, digest)] = sent(lab.core.handle(e.MemberUp(BOB), lab.now_s))
    assert to == BOB
    assert isinstance(digest, Digest)
    wanted = sent(other.hear(digest, ALICE))
    assert [type(m) for _, m in wanted] == [Push, Want]
    for _, message in wanted:
        assert isinstance(message, GossipMessage)
        for _, answer in sent(lab.hear(message, BOB)):
            assert isinstance(answer, GossipMessage)
            other.hear(answer, ALICE)
    assert lab.bodies() == other.bodies() == {ALICE: b"alice's", BOB: b"bob's", CAROL: b"new"}


def test_what_answers_a_digest_is_passed_on_only_when_it_is_the_answerers_own() -> None:
    lab = lab_of(20)
    lab.core.handle(e.Publish(RESOURCES, b"own", 35), lab.now_s)
    lab.push(lab.word(MANY[0], b"other's"), peer=MANY[0], hops=0)
    answer = pushes(lab.hear(Digest(*ALL, b"")))
    hops = {carried.sealed.sender: push.hops for _, push in answer for carried in push.items}
    assert hops == {ALICE: 5, MANY[0]: 0}


def test_an_item_is_asked_for_once_and_again_when_it_did_not_come() -> None:
    lab = lab_of(3)
    entry = struct.pack(">QQ", key_of(MANY[0], RESOURCES), 7)
    digest = Digest(*ALL, entry)
    assert [m for _, m in sent(lab.hear(digest, MANY[1]))] == [Want(entry[:8])]
    assert sent(lab.hear(digest, MANY[2])) == []
    lab.now_s += lab.config.ask_again_s + 0.1
    assert [m for _, m in sent(lab.hear(digest, MANY[2]))] == [Want(entry[:8])]


def test_what_is_over_is_neither_offered_nor_wanted_again() -> None:
    lab = lab_of(3)
    word = lab.word(MANY[0], sequence=7)
    lab.push(word, left_ms=1000)
    lab.now_s += 2
    assert sent(lab.hear(Digest(*ALL, b""), MANY[1])) == []
    entry = struct.pack(">QQ", key_of(MANY[0], RESOURCES), 7)
    assert sent(lab.hear(Digest(*ALL, entry), MANY[1])) == []
    assert sent(lab.hear(Want(entry[:8]), MANY[1])) == []


@pytest.mark.parametrize(
    "message",
    [
        Digest(0, KEY_MAX, b"short"),
        Digest(0, KEY_MAX, bytes(16 * GOSSIP_DIGEST_ENTRIES_MAX + 16)),
        Digest(5, 9, struct.pack(">QQ", 10, 1)),
        Digest(9, 5, struct.pack(">QQ", 7, 1)),
        Digest(-5, -1, struct.pack(">QQ", 7, 1)),
        Want(b"short"),
        Want(bytes(8 * GOSSIP_DIGEST_ENTRIES_MAX + 8)),
    ],
)
def test_a_malformed_digest_or_want_is_refused(message: Digest | Want) -> None:
    lab = lab_of(3)
    lab.core.handle(e.Publish(RESOURCES, b"x", 35), lab.now_s)
    assert lab.hear(message) == []
    assert lab.core.refused == 1


def test_one_peer_can_make_us_send_only_so_much() -> None:
    lab = lab_of(20, burst=30)
    for peer in MANY:
        lab.push(lab.word(peer), lab.word(peer, kind=STORAGE), peer=peer)
    asked = [push for _ in range(5) for _, push in pushes(lab.hear(Digest(*ALL, b"")))]
    assert sum(len(push.items) for push in asked) == 30


def test_a_table_larger_than_a_digest_is_compared_in_parts_that_leave_no_gap() -> None:
    table = ItemTable(GOSSIP_DIGEST_ENTRIES_MAX * 3)
    peers = [PeerId(f"member-{at}") for at in range(GOSSIP_DIGEST_ENTRIES_MAX * 2 + 5)]
    assert all(table.put(row_of(peer), 0.0) for peer in peers)
    rows = table.live(0, KEY_MAX, 0.0)
    parts = [digest_of(rows, page) for page in range(pages_in(rows))]
    assert len(parts) == 3
    assert [p.low for p in parts] == [0, parts[0].high + 1, parts[1].high + 1]
    assert parts[-1].high == KEY_MAX
    assert sum(len(read_digest(part)) for part in parts) == len(peers)
    assert all(len(encode(part)) <= PAYLOAD_BYTES_MAX for part in parts)


def test_a_full_table_gives_up_what_is_over_but_nothing_live() -> None:
    rows, table = [row_of(peer) for peer in MANY[:3]], ItemTable(2)
    rows[0].ends_s = 5.0
    assert table.put(rows[0], 0.0)
    assert table.put(rows[1], 0.0)
    assert not table.put(rows[2], 4.0)
    assert table.put(rows[2], 6.0)
    assert len(table) == 2
    assert table.get(rows[0].key) is None


def test_a_newcomer_is_compared_with_by_a_few_of_many() -> None:
    many = tuple(PeerId(f"m{at:03}") for at in range(100))
    greeted = 0
    for me in many:
        lab = GossipLab(me=me, others=tuple(p for p in many if p != me), seed=str(me))
        greeted += len(sent(lab.core.handle(e.MemberUp(many[0]), lab.now_s), Digest))
    assert 1 <= greeted <= 12


def test_reconciling_goes_on_with_jitter() -> None:
    lab = lab_of(3)
    period_s = lab.config.reconcile_s
    [first] = [f for f in lab.core.handle(e.GossipBegan(), 0.0) if isinstance(f, WakeAt)]
    assert 0 <= first.deadline_s <= period_s
    dues = set()
    for _ in range(20):
        effects = lab.core.handle(e.ReconcileDue(), lab.now_s)
        [wake] = [f for f in effects if isinstance(f, WakeAt)]
        dues.add(wake.deadline_s - lab.now_s)
        assert [type(m) for _, m in sent(effects)] == [Digest]
    assert len(dues) == 20
    assert all(0.8 * period_s <= due_s <= 1.2 * period_s for due_s in dues)


def test_buckets_forget_the_longest_unused_peer() -> None:
    buckets = Buckets(2.0, 0.001)
    assert buckets.take(BOB, 5, 0.0) == 2
    assert buckets.take(BOB, 1, 1.0) == 0
    for at in range(PEERS_MAX):
        buckets.take(PeerId(f"p{at}"), 1, 1.0)
    assert buckets.take(BOB, 1, 2.0) == 1


@pytest.mark.parametrize(
    "wrong", [{"fanout": 0}, {"hops_max": 0}, {"reconcile_s": 0}, {"burst": 0}]
)
def test_settings_out_of_bounds_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        GossipConfig(**wrong)


def test_the_test_profile_is_quicker() -> None:
    assert PROFILES["test"].reconcile_s < PROFILES["default"].reconcile_s


def test_an_empty_push_is_nothing() -> None:
    lab = lab_of(3)
    assert lab.hear(Push(5, ())) == []
    assert lab.hear(Push(5, (Carried(1, lab.word(ALICE)),)), BOB) == []
