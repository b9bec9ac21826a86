"""Processes in emulated hosts meet the network they were promised."""

import json
import sys
from collections.abc import Iterator

import pytest

from testnet.emulator.lab import EmulatedLab, emulated_lab, missing
from testnet.emulator.nat import NatKind
from testnet.emulator.shape import LinkShape

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"needs {missing()}")

PINGS = 20


@pytest.fixture
def lab() -> Iterator[EmulatedLab]:
    with emulated_lab(["alice", "bob", "carol"], seed=5) as made:
        yield made


def start(lab: EmulatedLab, host: str, *arguments: str) -> str:
    """The first line that a probe prints."""
    process = lab.start(host, [sys.executable, "-m", "testnet.emulator.probe", *arguments])
    assert process.stdout is not None
    return process.stdout.readline()


def pings(lab: EmulatedLab, host: str, target: str, count: int = PINGS) -> list[float | None]:
    """Round trips in ms; None where a packet was lost."""
    times: list[float | None] = json.loads(
        start(lab, host, "ping", lab.address(target), str(count), "5")
    )
    return times


def test_a_round_trip_takes_at_least_the_delay_of_both_ways(lab: EmulatedLab) -> None:
    start(lab, "bob", "echo")
    lab.shape("alice", "bob", LinkShape(delay_ms=15), back=LinkShape(delay_ms=5))
    times = pings(lab, "alice", "bob")
    assert None not in times
    assert min(time for time in times if time is not None) >= 20


def test_each_pair_has_a_shape_of_its_own(lab: EmulatedLab) -> None:
    start(lab, "bob", "echo")
    lab.shape("alice", "bob", LinkShape(loss=1.0))
    assert pings(lab, "alice", "bob") == [None] * PINGS
    assert None not in pings(lab, "carol", "bob")


@pytest.mark.parametrize("where", ["of the pair", "of who sends", "of who hears"])
def test_a_burst_is_no_faster_than_the_line(lab: EmulatedLab, where: str) -> None:
    line = LinkShape(rate_mbit=10)
    if where == "of who sends":
        lab.shape_uplink("alice", line)
    elif where == "of who hears":
        lab.shape_downlink("bob", line)
    else:
        lab.shape("alice", "bob", line)
    sink = lab.start("bob", [sys.executable, "-m", "testnet.emulator.probe", "sink", "100"])
    assert sink.stdout is not None
    assert sink.stdout.readline() == "ready\n"
    start(lab, "alice", "burst", lab.address("bob"), "100")
    heard = json.loads(sink.stdout.readline())
    assert heard["packets"] == 100
    assert heard["span_s"] >= 0.8 * 99 * 1500 * 8 / 10e6  # the first may be heard late
    assert lab.stats()["alice>bob"]["bytes"] == 150_000


def test_a_partition_cuts_groups_apart_until_it_is_healed(lab: EmulatedLab) -> None:
    start(lab, "bob", "echo")
    lab.partition(["alice"], ["bob"])
    assert pings(lab, "alice", "bob") == [None] * PINGS
    assert None not in pings(lab, "carol", "bob")
    lab.heal()
    assert None not in pings(lab, "alice", "bob")


def test_behind_a_translator_one_reaches_out_but_is_not_reached(lab: EmulatedLab) -> None:
    public = lab.put_behind_nat(NatKind.PORT_RESTRICTED, "alice")
    for host in ("alice", "bob"):
        start(lab, host, "echo")
    assert None not in pings(lab, "alice", "bob")
    assert pings(lab, "bob", "alice") == [None] * PINGS
    assert json.loads(start(lab, "bob", "ping", public, "5", "5")) == [None] * 5


def test_a_lab_takes_its_processes_with_it() -> None:
    with emulated_lab(["alice"]) as lab:
        process = lab.start("alice", [sys.executable, "-m", "testnet.emulator.probe", "echo"])
        assert process.stdout is not None
        process.stdout.readline()
    assert process.returncode is not None
