"""What a relay carries, and what that costs: four processes on loopback, one of them the relay.

relayed_mb_s, direct_mb_s, relay_rate_vs_direct
    Bodies of 8 MiB in class 2, three calls at a time, from one end to the other: by the relay,
    whose rate is not bound, and directly; the median of the ratios of single rounds. By the relay
    every byte is sealed and opened three times, and all three processes share the cores.
relay_cpu_s_per_gb
    User and system time of the relay's process for 10^9 bytes of that.
calls_p50_ms, calls_p99_ms, calls_relayed_p50_ms, calls_relayed_p99_ms
    Echoes in class 0 between the ends, one of which begins every 10 ms; directly, and by the relay.
own_idle_p99_ms, own_carrying_p99_ms, own_bound_ms, carried_at_cap_mb_s
    Such echoes of an end with the relay itself, on the connection that carries: at rest, and while
    a transfer between the ends is held to the relay's usual rate; and the most that may be:
    max(2 x idle, idle + 50 ms).

Medians over the rounds; loopback, which has no delay and no bound of its own.
"""

import json
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.processes import Process, settle, spawned
from p2p.limits import RELAY_BYTES_PER_S

MODULE = "bench.relay_peer"
BODIES = 40
CALLS = 500
BODIES_AT_CAP = 30
MB_OF_BODY = 8 * 1024 * 1024 / 1e6


def measure(rounds: int) -> dict[str, object]:
    """All figures; about half a minute a round."""
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, value in {**_unbound(), **_at_cap()}.items():
            found.setdefault(name, []).append(value)
    return {name: round(statistics.median(values), 3) for name, values in found.items()}


@contextmanager
def _ends(rate: int) -> Iterator[tuple[Process, Process, Process]]:
    """The relay, one that calls by it, and one that calls directly."""
    with spawned(MODULE, "relay", str(rate)) as relay:
        where = relay.line()
        with spawned(MODULE, "callee", "0", where) as callee:
            called = callee.line()
            peer = called.rpartition("/")[2]
            with (
                spawned(MODULE, "caller", "0", where, peer) as by_relay,
                spawned(MODULE, "near", "0", where, called) as directly,
            ):
                by_relay.line(), directly.line()
                yield relay, by_relay, directly


def _ask(process: Process, line: str) -> Any:  # noqa: ANN401
    settle()
    process.tell(line)
    return json.loads(process.line())


def _unbound() -> dict[str, float]:
    with _ends(0) as (relay, by_relay, directly):
        for end in (by_relay, directly):
            _ask(end, "bulk peer 6")  # windows have grown, bulk has its own connection
        p50, p99 = _ask(directly, f"calls peer {CALLS}")
        relayed_p50, relayed_p99 = _ask(by_relay, f"calls peer {CALLS}")
        direct = _ask(directly, f"bulk peer {BODIES}")
        began_s = relay.cpu_s()
        relayed = _ask(by_relay, f"bulk peer {BODIES}")
        return {
            "relayed_mb_s": relayed,
            "direct_mb_s": direct,
            "relay_rate_vs_direct": relayed / direct,
            "relay_cpu_s_per_gb": (relay.cpu_s() - began_s) / (BODIES * MB_OF_BODY) * 1000,
            "calls_p50_ms": p50,
            "calls_p99_ms": p99,
            "calls_relayed_p50_ms": relayed_p50,
            "calls_relayed_p99_ms": relayed_p99,
        }


def _at_cap() -> dict[str, float]:
    with _ends(RELAY_BYTES_PER_S) as (_, by_relay, _directly):
        _ask(by_relay, "bulk peer 2")
        _, idle = _ask(by_relay, f"calls relay {CALLS}")
        carrying, rate = _ask(by_relay, f"both peer {BODIES_AT_CAP}")
        return {
            "own_idle_p99_ms": idle,
            "own_carrying_p99_ms": carrying,
            "own_bound_ms": max(2 * idle, idle + 50),
            "carried_at_cap_mb_s": rate,
        }
