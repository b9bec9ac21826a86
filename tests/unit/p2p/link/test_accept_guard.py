"""A newcomer is always let in; who has to leave for it is the one least worth keeping."""

import pytest

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
    guard.arrived(1, "10.9.0.9")
    guard.spoke(1)
    guard.arrived(2, "10.9.0.9")
    assert guard.arrived(3, "10.9.0.9") == [2]


def test_who_is_known_outlives_strangers() -> None:
    guard = AcceptGuard(SMALL)
    guard.arrived(1, "10.9.0.9", is_known=True)
    guard.arrived(2, "10.9.0.9")
    guard.spoke(2)
    assert guard.arrived(3, "10.9.0.9") == [2]


def test_who_was_admitted_frees_its_place() -> None:
    guard = AcceptGuard(SMALL)
    guard.arrived(1, "10.9.0.9")
    guard.arrived(2, "10.9.0.9")
    guard.left(1)
    assert guard.arrived(3, "10.9.0.9") == []


def test_a_thousand_silent_sockets_never_keep_an_honest_one_out() -> None:
    guard = AcceptGuard()
    for number in range(1000):
        guard.arrived(number, f"66.6.{number % 4}.{number % 250}")
    guard.arrived(1000, "10.0.0.1")
    guard.spoke(1000)
    for number in range(1001, 2000):
        assert 1000 not in guard.arrived(number, f"66.6.{number % 4}.{number % 250}")
    assert len(guard) <= GuardConfig().pending_max


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
