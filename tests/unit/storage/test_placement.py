from collections import Counter

import pytest
from msgspec.structs import replace

from p2p.ids import LabId, PeerId, PersonId
from storage.placement.rendezvous import (
    Candidate,
    Domain,
    Plan,
    plan_for,
    quorum_of,
    rendezvous,
    shards_wanted,
    shortlist,
    spread,
    survives,
)


def of_persons(*persons: str) -> list[Candidate]:
    """Machines of these people, all of one lab and site."""
    return [
        Candidate(PeerId(f"p{at}"), LabId("a"), "1", 100, 1 << 40, PersonId(person))
        for at, person in enumerate(persons)
    ]


def machines(*labs_and_sites: str, weight: int = 100) -> list[Candidate]:
    """`a1` is a machine in lab a at site 1."""
    return [
        Candidate(PeerId(f"p{at}"), LabId(place[0]), place[1:], weight, 1 << 40)
        for at, place in enumerate(labs_and_sites)
    ]


@pytest.mark.parametrize(
    ("peers", "plan"),
    [
        (1, Plan(1, 1, 1, 1)),
        (2, Plan(1, 2, 2, 1)),
        (3, Plan(1, 3, 3, 2)),
        (4, Plan(1, 3, 3, 2)),
        (6, Plan(1, 3, 3, 2)),
        (7, Plan(3, 6, 5, 5)),
        (8, Plan(3, 6, 5, 5)),
        (9, Plan(4, 8, 7, 6)),
        (12, Plan(4, 8, 7, 6)),
        (13, Plan(8, 12, 11, 11)),
        (16, Plan(8, 12, 11, 11)),
        (17, Plan(8, 16, 13, 13)),
        (1000, Plan(8, 16, 13, 13)),
    ],
)
def test_the_code_follows_the_size_of_the_pool(peers: int, plan: Plan) -> None:
    assert plan_for(peers) == plan
    assert plan.k <= quorum_of(plan) <= plan.ack


def test_small_objects_are_copied_to_five_machines_at_most() -> None:
    assert plan_for(3, small=True) == Plan(1, 3, 2, 2)
    assert plan_for(100, small=True) == Plan(1, 5, 3, 4)


@pytest.mark.parametrize(
    ("k", "peers", "small", "wanted"),
    [
        (1, 1, False, 1), (1, 2, False, 2), (1, 3, False, 3), (1, 6, False, 3), (1, 7, False, 4),
        (1, 9, False, 5), (1, 17, False, 5), (1, 4, True, 4), (1, 100, True, 5),
        (3, 8, False, 6), (3, 9, False, 7), (3, 17, False, 11), (4, 13, False, 8),
        (8, 17, False, 16), (8, 3, False, 3),
    ],
)  # fmt: skip
def test_an_object_should_survive_what_one_put_now_would(
    k: int, peers: int, small: bool, wanted: int
) -> None:
    assert shards_wanted(k, peers, small=small) == wanted


def test_an_empty_pool_has_no_code() -> None:
    with pytest.raises(ValueError, match="no machine"):
        plan_for(0)


def test_a_machine_that_lends_twice_as_much_is_first_twice_as_often() -> None:
    small, big = machines("a1", "b1")
    big = Candidate(big.peer, big.lab, big.site, 200, 1 << 40)
    firsts = Counter(rendezvous(number.to_bytes(4), [small, big])[0].peer for number in range(6000))
    assert 1.85 < firsts[big.peer] / firsts[small.peer] < 2.15


def test_a_machine_that_leaves_moves_only_its_own() -> None:
    pool = machines(*["a1"] * 20)
    for number in range(200):
        key = number.to_bytes(4)
        before = rendezvous(key, pool)
        after = rendezvous(key, [c for c in pool if c.peer != "p7"])
        assert after == [c for c in before if c.peer != "p7"]


def test_shards_spread_over_labs_first_and_sites_then() -> None:
    pool = machines(*["a1"] * 6, *["a2"] * 6, *["b1"] * 6, *["c1"] * 2)
    for number in range(50):
        chosen = spread(rendezvous(number.to_bytes(4), pool), 8)
        labs = Counter(c.lab for c in chosen)
        sites = Counter((c.lab, c.site) for c in chosen if c.lab == "a")
        assert sorted(labs.values()) == [2, 3, 3]
        assert max(sites.values()) <= 2
        assert survives(chosen, 4) is Domain.LAB


def test_where_labs_cannot_do_sites_do_and_then_machines() -> None:
    one_lab = machines(*["a1"] * 4, *["a2"] * 4, *["a3"] * 4)
    assert survives(spread(one_lab, 6), 3) is Domain.SITE
    one_site = machines(*["a1"] * 12)
    assert survives(spread(one_site, 6), 3) is Domain.MACHINE
    assert survives(one_site[:3], 3) is Domain.NOTHING


def test_a_replacement_keeps_away_from_those_that_have_something() -> None:
    pool = machines("a1", "a1", "b1", "c1")
    assert [c.peer for c in spread(pool, 1, present=[pool[0], pool[2]])] == ["p3"]
    assert [c.peer for c in spread(pool, 9, present=[pool[0], pool[2]])] == ["p3", "p1"]


def test_one_person_gets_no_more_than_may_be_lost_where_others_lend() -> None:
    pool = of_persons(*["mallory"] * 30, "ann", "ben", "cem", "dora")
    for number in range(100):
        order = rendezvous(number.to_bytes(4), pool)
        chosen = spread(order, 8, per_person=4)
        assert Counter(c.person for c in chosen)["mallory"] == 4
        copies = Counter(c.person for c in spread(order, 3, per_person=2))
        assert copies["mallory"] <= 2


def test_what_a_person_has_of_it_already_counts() -> None:
    pool = of_persons("mallory", "mallory", "mallory", "ann")
    (chosen,) = spread(pool, 1, present=pool[:2], per_person=2)
    assert chosen.person == "ann"


def test_where_others_do_not_suffice_nobody_gets_fewer_shards() -> None:
    pool = of_persons(*["mallory"] * 7, "ann")
    chosen = spread(rendezvous(b"key", pool), 6, per_person=3)
    assert len(chosen) == 6
    assert "ann" in {c.person for c in chosen}


def test_a_pool_of_one_person_is_used_as_if_nobody_looked_at_persons() -> None:
    mine = of_persons(*["me"] * 9)
    unknown = of_persons(*[""] * 9)
    for number in range(100):
        order = rendezvous(number.to_bytes(4), mine)
        assert spread(order, 8, per_person=4) == spread(order, 8)
        assert shortlist(order, 4) == order[:4]
        order = rendezvous(number.to_bytes(4), unknown)
        assert spread(order, 8, per_person=4) == spread(order, 8)


def test_a_person_with_very_many_machines_leaves_others_among_those_considered() -> None:
    pool = [*of_persons(*["mallory"] * 1000), *machines(*["b1"] * 60)]
    claimed = [replace(c, weight=1 << 60) if c.owner else c for c in pool]
    short = shortlist(rendezvous(b"key", claimed), 64)
    assert len(short) == 64
    assert Counter(c.person for c in short)["mallory"] == 16
