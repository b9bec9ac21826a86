"""A newcomer is always let in; who has to leave for it is the one least worth keeping."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.link.guard import AcceptGuard, GuardConfig, groups_of

SMALL = GuardConfig(pending_max=6, per_address_max=2, per_prefix_max=4)


def test_below_the_caps_nobody_leaves() -> None:
    guard = AcceptGuard(SMALL)
    assert [guard.arrived(n, f"10.{n}.0.1") for n in range(6)] == [[]] * 6


def test_one_address_only_pushes_out_its_own() -> None:
    guard = AcceptGuard(SMALL)
    guard.arrived(1, "10.0.0.1")
    guard.arrived(2, "10.9.0.9")
    guard.arrived(3, "10.9.0.9")
    assert guard.arrived(4, "10.9.0.9") == [2]
    assert guard.arrived(5, "10.9.0.9") == [3]


def test_a_prefix_only_pushes_out_its_own() -> None:
    guard = AcceptGuard(SMALL)
    guard.arrived(1, "10.0.0.1")
    for number in range(2, 6):
        guard.arrived(number, f"10.9.0.{number}")
    assert guard.arrived(6, "10.9.0.60") == [2]


def test_who_has_spoken_outlives_who_is_silent() -> None:
    guard = AcceptGuard(SMALL)
    for number in range(1, 5):
        guard.arrived(number, f"10.9.0.{number}")
    guard.spoke(1)
    assert guard.arrived(5, "10.9.0.5") == [2]


def test_who_is_known_outlives_strangers() -> None:
    guard = AcceptGuard(SMALL)
    guard.arrived(1, "10.9.0.1", is_known=True)
    for number in range(2, 5):
        guard.arrived(number, f"10.9.0.{number}")
        guard.spoke(number)
    assert guard.arrived(5, "10.9.0.5") == [2]


def test_who_has_proved_a_key_outlives_who_has_only_spoken() -> None:
    guard = AcceptGuard(SMALL)
    for number in range(1, 5):
        guard.arrived(number, f"10.9.0.{number}")
        guard.spoke(number)
    guard.proved(1, is_known=False)
    assert guard.arrived(5, "10.9.0.5") == [2]


def test_silence_is_capped_per_address_and_talk_only_per_prefix() -> None:
    guard = AcceptGuard(SMALL)
    for number in range(1, 5):
        assert guard.arrived(number, "10.9.0.9") == []
        guard.spoke(number)
    assert guard.arrived(5, "10.9.0.9") == [1]


def test_members_behind_one_address_never_push_each_other_out() -> None:
    guard = AcceptGuard(SMALL)
    for number in range(6):
        assert guard.arrived(number, "10.9.0.9", is_known=True) == []
        guard.spoke(number)
        guard.proved(number, is_known=True)


def test_a_stranger_that_proves_its_key_still_counts_for_its_prefix() -> None:
    guard = AcceptGuard(SMALL)
    for number in range(1, 5):
        guard.arrived(number, f"10.9.0.{number}", is_known=True)
        guard.proved(number, is_known=False)
    assert guard.arrived(5, "10.9.0.5") == [1]


def test_a_stranger_gives_way_where_only_known_peers_wait() -> None:
    guard = AcceptGuard(SMALL)
    for number in range(6):
        guard.arrived(number, f"10.{number}.0.1", is_known=True)
    assert guard.arrived(6, "10.6.0.1") == [6]
    assert guard.arrived(7, "10.7.0.1", is_known=True) == [0]
    assert len(guard) == SMALL.pending_max


def test_who_was_admitted_frees_its_place() -> None:
    guard = AcceptGuard(SMALL)
    guard.arrived(1, "10.9.0.9")
    guard.arrived(2, "10.9.0.9")
    guard.left(1)
    assert guard.arrived(3, "10.9.0.9") == []


def test_who_has_left_is_forgotten_whatever_is_still_heard_of_it() -> None:
    guard = AcceptGuard(SMALL)
    guard.arrived(1, "10.9.0.9")
    guard.left(1)
    guard.left(1)
    guard.spoke(1)
    guard.proved(1, is_known=True)
    assert len(guard) == 0


def test_a_thousand_silent_sockets_of_a_prefix_never_keep_an_honest_one_of_it_out() -> None:
    guard = AcceptGuard()
    number = 0
    for _ in range(3):
        number += 1
        honest = number
        guard.arrived(honest, "66.6.6.6")
        guard.spoke(honest)
        for _ in range(350):
            number += 1
            assert honest not in guard.arrived(number, f"66.6.6.{number % 250}")
        guard.left(honest)
    assert len(guard) <= GuardConfig().per_prefix_max


def test_a_thousand_silent_sockets_never_keep_an_honest_one_out() -> None:
    guard = AcceptGuard()
    for number in range(1000):
        guard.arrived(number, f"66.6.{number % 4}.{number % 250}")
    guard.arrived(1000, "10.0.0.1")
    guard.spoke(1000)
    for number in range(1001, 2000):
        assert 1000 not in guard.arrived(number, f"66.6.{number % 4}.{number % 250}")
    assert len(guard) <= GuardConfig().pending_max


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["arrive", "know", "speak", "prove", "leave"]), st.integers(0, 7)
        ),
        max_size=60,
    )
)
def test_the_caps_hold_and_no_stranger_displaces_a_known_peer(
    steps: list[tuple[str, int]],
) -> None:
    guard = AcceptGuard(SMALL)
    here: dict[int, bool] = {}
    for number, (step, pick) in enumerate(steps):
        chosen = sorted(here)[pick % len(here)] if here else -1
        match step:
            case "arrive" | "know":
                is_known = step == "know"
                here[number] = is_known
                for victim in guard.arrived(
                    number, f"10.{pick % 2}.0.{pick % 4}", is_known=is_known
                ):
                    assert is_known or not here[victim]
                    del here[victim]
            case "speak":
                guard.spoke(chosen)
            case "prove" if chosen >= 0:
                here[chosen] = bool(pick % 2)
                guard.proved(chosen, is_known=here[chosen])
            case "leave":
                guard.left(chosen)
                here.pop(chosen, None)
        assert len(guard) == len(here) <= SMALL.pending_max


@pytest.mark.parametrize(
    ("host", "address", "prefix"),
    [
        ("10.1.2.3", "10.1.2.3", "10.1.2.0/24"),
        ("::ffff:10.1.2.3", "10.1.2.3", "10.1.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/64", "fe80::/48"),
    ],
)
def test_hosts_are_grouped_as_networks_hand_them_out(host: str, address: str, prefix: str) -> None:
    assert groups_of(host) == (address, prefix)
