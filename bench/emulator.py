"""How far the emulated network (`testnet.emulator`) is from what it was asked for, in per cent.

delay_error_pct
    Median round trip of 200 packets of UDP, one every 5 ms, at 5, 20 and 50 ms each way, less
    that without any delay, against twice the delay: the worst of the three. `delay_p99_error_pct`
    is the same for the 99th percentile, and where a busy machine shows first.
own_round_trip_ms
    The median without any delay: the work of the two hosts (a Python process each) and of the
    router. Whoever compares an emulated line with itself need not mind it.
rate_error_pct
    300 packets of 1,500 bytes sent at once at 5, 20 and 100 Mbit/s: bytes after the first packet
    by the time to the last, against the rate: the worst of the three.
loss_error_points
    Of 4,000 packets at 5 % loss each way, the share that was lost, against what that makes (9.75).

Medians over the rounds.
"""

import json
import statistics
import sys
from collections.abc import Callable
from typing import Final

from testnet.emulator.lab import EmulatedLab, emulated_lab, missing
from testnet.emulator.probe import PACKET_BYTES
from testnet.emulator.shape import LinkShape

DELAYS_MS: Final = (5.0, 20.0, 50.0)
RATES_MBIT: Final = (5.0, 20.0, 100.0)
LOSS: Final = 0.05
PINGS: Final = 200
BURST: Final = 300
LOSS_PINGS: Final = 4000


def measure(rounds: int) -> dict[str, object]:
    """All figures; about a minute with five rounds. OSError without root or /dev/net/tun."""
    if why := missing():
        raise OSError(f"bench emulator needs {why}")
    with emulated_lab(["a", "b"]) as lab:
        delays = [_worst_delay_errors(lab) for _ in range(rounds)]
        own_ms = [_round_trip_ms(lab, 0.0)[0] for _ in range(rounds)]
        rates = [max(_rate_error(lab, rate) for rate in RATES_MBIT) for _ in range(rounds)]
        losses = [_loss_error(lab) for _ in range(rounds)]
    return {
        "delay_error_pct": round(statistics.median(p50 for p50, _ in delays), 2),
        "delay_p99_error_pct": round(statistics.median(p99 for _, p99 in delays), 2),
        "own_round_trip_ms": round(statistics.median(own_ms), 2),
        "rate_error_pct": round(statistics.median(rates), 2),
        "loss_error_points": round(statistics.median(losses), 2),
    }


def _worst_delay_errors(lab: EmulatedLab) -> tuple[float, float]:
    """Of the median and of the 99th percentile."""
    own_ms, _ = _round_trip_ms(lab, 0.0)
    p50s, p99s = [], []
    for delay_ms in DELAYS_MS:
        p50_ms, p99_ms = _round_trip_ms(lab, delay_ms)
        p50s.append(100 * abs(p50_ms - own_ms - 2 * delay_ms) / (2 * delay_ms))
        p99s.append(100 * abs(p99_ms - own_ms - 2 * delay_ms) / (2 * delay_ms))
    return max(p50s), max(p99s)


def _round_trip_ms(lab: EmulatedLab, delay_ms: float) -> tuple[float, float]:
    """Median and 99th percentile."""
    lab.shape("a", "b", LinkShape(delay_ms=delay_ms))
    times = [one for one in _pings(lab, PINGS, every_ms=5) if one is not None]
    return statistics.median(times), statistics.quantiles(times, n=100)[98]


def _rate_error(lab: EmulatedLab, rate_mbit: float) -> float:
    lab.shape("a", "b", LinkShape(rate_mbit=rate_mbit))
    heard = json.loads(_between(lab, ["sink", str(BURST)], _burst)[-1])
    rate: float = 8e-6 * PACKET_BYTES * (heard["packets"] - 1) / heard["span_s"]
    return 100 * abs(rate - rate_mbit) / rate_mbit


def _burst(lab: EmulatedLab) -> str:
    return _run(lab, "burst", lab.address("b"), str(BURST))


def _loss_error(lab: EmulatedLab) -> float:
    lab.shape("a", "b", LinkShape(loss=LOSS))
    lost = _pings(lab, LOSS_PINGS, every_ms=0.5).count(None) / LOSS_PINGS
    return 100 * abs(lost - (1 - (1 - LOSS) ** 2))


def _pings(lab: EmulatedLab, count: int, every_ms: float) -> list[float | None]:
    def ping(lab: EmulatedLab) -> str:
        return _run(lab, "ping", lab.address("b"), str(count), str(every_ms))

    times: list[float | None] = json.loads(_between(lab, ["echo"], ping)[0])
    return times


def _between(
    lab: EmulatedLab, listener: list[str], talk: Callable[[EmulatedLab], str]
) -> tuple[str, str]:
    """Talk while somebody listens in b; what both printed last."""
    process = lab.start("b", [sys.executable, "-m", "testnet.emulator.probe", *listener])
    assert process.stdout is not None
    process.stdout.readline()
    said = talk(lab)
    heard = process.stdout.readline() if listener[0] == "sink" else ""
    lab.stop(process)
    return said, heard


def _run(lab: EmulatedLab, *arguments: str) -> str:
    """Run a probe in a to its end; what it printed."""
    process = lab.start("a", [sys.executable, "-m", "testnet.emulator.probe", *arguments])
    assert process.stdout is not None
    said = process.stdout.readline()
    lab.stop(process)
    return said
