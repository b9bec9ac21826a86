from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from p2p.ids import LabId, PeerId
from storage.placement.rendezvous import Candidate, Domain, plan_for, rendezvous, spread, survives

pools = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from("123"), st.integers(0, 1 << 44)),
    min_size=1,
    max_size=40,
).map(
    lambda places: [
        Candidate(PeerId(f"p{at}"), LabId(lab), site, weight, weight)
        for at, (lab, site, weight) in enumerate(places)
    ]
)


@given(pools, st.binary(min_size=1, max_size=40))
def test_every_machine_holds_at_most_one_shard_and_labs_share_evenly(
    pool: list[Candidate], key: bytes
) -> None:
    plan = plan_for(len(pool))
    chosen = spread(rendezvous(key, pool), plan.n)
    assert len({c.peer for c in chosen}) == len(chosen) == min(plan.n, len(pool))
    used = Counter(c.lab for c in chosen)
    there = Counter(c.lab for c in pool)
    most = max(used.values())
    for lab, count in there.items():  # no lab with room has two fewer than another
        assert used[lab] >= min(count, most - 1)


@given(pools, st.binary(min_size=1, max_size=40))
def test_no_lab_holds_more_than_parity_where_that_is_possible(
    pool: list[Candidate], key: bytes
) -> None:
    plan = plan_for(len(pool))
    chosen = spread(rendezvous(key, pool), plan.n)
    there = Counter(c.lab for c in pool)
    parity = plan.n - plan.k
    is_possible = sum(min(parity, count) for count in there.values()) >= plan.n
    assert (survives(chosen, plan.k) is Domain.LAB) == (is_possible and parity > 0)


@given(pools, st.binary(min_size=1, max_size=40))
def test_the_order_does_not_depend_on_how_the_pool_was_listed(
    pool: list[Candidate], key: bytes
) -> None:
    turned = pool[len(pool) // 2 :] + pool[: len(pool) // 2]
    assert rendezvous(key, pool) == rendezvous(key, turned)
