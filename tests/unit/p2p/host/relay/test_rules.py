"""Which relay is asked, and whom it refuses."""

import random

import pytest

from p2p.host.relay.limits import (
    CIRCUITS_BULK_PER_PEER_MAX,
    CIRCUITS_MAX,
    CIRCUITS_PER_PAIR_MAX,
    CIRCUITS_PER_PEER_MAX,
)
from p2p.host.relay.rules import REFUSALS, Circuit, in_order, meaning_of, why_full
from p2p.ids import PeerId

ALICE, BOB = PeerId("alice"), PeerId("bob")
RELAYS = [PeerId(f"relay{number}") for number in range(8)]


@pytest.mark.parametrize("seed", range(20))
def test_both_ends_ask_the_same_relay_first_however_they_came_to_know_of_them(seed: int) -> None:
    shuffled = random.Random(seed).sample(RELAYS, len(RELAYS))
    assert in_order(ALICE, BOB, RELAYS) == in_order(BOB, ALICE, shuffled)


def test_pairs_are_spread_over_all_relays() -> None:
    firsts = [in_order(PeerId(f"a{n}"), PeerId(f"b{n}"), RELAYS)[0] for n in range(800)]
    assert all(60 < firsts.count(relay) < 140 for relay in RELAYS)


def test_a_relay_that_is_gone_changes_the_order_of_nobody_else() -> None:
    order = in_order(ALICE, BOB, RELAYS)
    assert in_order(ALICE, BOB, [r for r in RELAYS if r != order[2]]) == [*order[:2], *order[3:]]


def circuit(source: str, target: str, *, is_bulk: bool = False) -> Circuit:
    return Circuit(PeerId(source), PeerId(target), is_bulk)


def test_one_machine_cannot_have_all_circuits_of_a_relay() -> None:
    taken = [circuit("alice", f"m{number}") for number in range(CIRCUITS_PER_PEER_MAX)]
    assert why_full(taken, circuit("alice", "bob")) == "full"
    assert why_full(taken, circuit("bob", "alice")) == "full", "nor lead all of them to it"
    assert why_full(taken, circuit("bob", "carol")) is None
    assert why_full(taken, circuit("alice", "bob", is_bulk=True)) is None


def test_nobody_takes_all_circuits_that_another_may_have() -> None:
    taken = [circuit("mallory", "bob")] * (CIRCUITS_PER_PAIR_MAX - 1)
    assert why_full(taken, circuit("bob", "mallory")) is None
    taken = [*taken, circuit("bob", "mallory")]
    assert why_full(taken, circuit("mallory", "bob")) == "full"
    assert why_full(taken, circuit("bob", "mallory")) == "full"
    assert why_full(taken, circuit("alice", "bob")) is None


def test_circuits_for_bulk_are_counted_apart() -> None:
    taken = [
        circuit("alice", f"m{number}", is_bulk=True) for number in range(CIRCUITS_BULK_PER_PEER_MAX)
    ]
    assert why_full(taken, circuit("alice", "bob", is_bulk=True)) == "full"
    assert why_full(taken, circuit("alice", "bob")) is None


def test_a_relay_has_an_end_of_circuits() -> None:
    taken = [circuit(f"a{number}", f"b{number}") for number in range(CIRCUITS_MAX)]
    assert why_full(taken, circuit("alice", "bob")) == "full"


def test_what_a_relay_says_is_shown_in_our_words_only() -> None:
    assert meaning_of("off") == REFUSALS["off"]
    assert "\x1b" not in meaning_of("\x1b[2J")
