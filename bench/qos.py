"""What a call costs while bulk fills the line: figures of `python -m bench qos`.

The line is emulated (`testnet.emulator`): 20 Mbit/s and 20 ms each way, behind a router with one
queue of 500 kB, first in first out. Our two hosts and the rival's two are processes of their own
on it. A call is 1 kB with 1 kB back in the interactive class, 500 a phase at random times, 50 a
second on average; bulk is calls with bodies of 64 KiB, 32 at a time, always more than the line
takes. One round is, in this order: calls alone (idle), calls under bulk, bulk alone, the rival.

rpc_p50_vs_idle, rpc_p99_vs_idle
    Calls under bulk of class normal against calls alone, of the same round.
bulk_share_of_line
    Bytes of bodies that arrived while those calls were made, against 20 Mbit/s (of which headers
    of TCP and IP take 3.5 %).
bulk_alone_share
    The same with no call for 2.5 s before and none meanwhile.
loss_*
    The same with every two hundredth packet lost, each way, in rounds of their own.
stock_libp2p_stream_p50_vs_ours
    Stock py-libp2p on the same line with the same load (32 tasks with bodies of 64 KiB, and the
    calls) on one stream; its median against ours under bulk.
stock_two_streams_p50_vs_ours
    The same with a stream for bulk and one for calls. What holds up calls is then no more than
    the 256 KiB that stock Yamux lets one stream have on its way.
lowest_class_share_min
    Bytes of class background against 20 Mbit/s while interactive, normal and background all have
    more to send than the line takes: the least of every 30 s in 36 s, once a run.
peers_least_vs_fair, peers_bulk_share_of_line
    Bulk to three peers at once over one such line as the node's uplink, with calls to one of them:
    what the least of them got against a third of it all, and what all got of the line; once a run.
rounds_repeated
    Rounds thrown away because the machine was too busy for them: the 99th percentile of their
    idle calls was above 1.3 times their median; with losses, where one call in fifty waits for a
    packet sent again, above 1.3 times that of the median round. At most as many as were asked for.

Ratios are medians over the rounds. `idle_*_ms` and `rpc_*_ms` are medians of each round's own.
"""

import json
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from testnet.emulator.lab import EmulatedLab, emulated_lab, missing
from testnet.emulator.shape import LinkShape

CALLS: Final = 500
RATE_MBIT: Final = 20.0
LINE_BYTES_PER_S: Final = RATE_MBIT * 125_000
WARM_S: Final = 4.0
WARM_CALLS: Final = 150
ALONE_AFTER_S: Final = 2.5
ALONE_S: Final = 6.0
WINDOW_S: Final = 30
STARVE_S: Final = 36
IDLE_P99_MAX: Final = 1.3
ANSWER_WITHIN_S: Final = 120.0
NORMAL, BACKGROUND, INTERACTIVE = 2, 3, 1


class Peer:
    """A client and its servers on the line, driven by lines to the client."""

    def __init__(
        self, lab: EmulatedLab, module: str, *arguments: str, servers: tuple[str, ...] = ("server",)
    ) -> None:
        python = [sys.executable, "-m", module]
        self._servers = [lab.start(one, [*python, "server", lab.address(one)]) for one in servers]
        addresses = [self._line(one) for one in self._servers]
        self._client = lab.start("client", [*python, "client", *addresses, *arguments])
        self._line(self._client)

    def tell(self, do: str, **fields: object) -> str:
        """Give an order; returns the line that answers it, empty when the client has ended."""
        return self.say({"do": do, **fields})

    def say(self, order: object) -> str:
        """The same in any words."""
        assert self._client.stdin is not None
        self._client.stdin.write(json.dumps(order) + "\n")
        self._client.stdin.flush()
        return self._line(self._client)

    def times_ms(self, order: object) -> list[float]:
        """How long the calls took that it orders."""
        times: list[float] = json.loads(self.say(order))
        return times

    def count(self, server: int = 0) -> "Count":
        """What has come so far."""
        fields = json.loads(self.tell("count", server=server))
        return Count(fields["received"], fields["at_s"])

    def close(self) -> None:
        """End all, the client first."""
        for process in (self._client, *self._servers):
            assert process.stdin is not None
            process.stdin.close()
            process.wait(ANSWER_WITHIN_S)

    def _line(self, process: "subprocess.Popen[str]") -> str:
        assert process.stdout is not None
        timer = threading.Timer(ANSWER_WITHIN_S, process.kill)
        timer.start()
        try:
            return process.stdout.readline().strip()
        finally:
            timer.cancel()


@dataclass(frozen=True, slots=True)
class Count:
    """Bytes of bodies that the server had received, per class, and when."""

    received: list[int]
    at_s: float

    def share_since(self, before: "Count", traffic_class: int = NORMAL) -> float:
        """Of the line's 20 Mbit/s."""
        received = self.received[traffic_class] - before.received[traffic_class]
        return received / (self.at_s - before.at_s) / LINE_BYTES_PER_S


@dataclass(frozen=True, slots=True)
class Round:
    """Times in ms, shares of the line."""

    idle: list[float]
    under: list[float]
    share: float
    alone: float = 0.0
    stock: tuple[float, ...] = ()
    stock_two: tuple[float, ...] = ()


def measure(rounds: int) -> dict[str, object]:
    """All figures; about ten minutes with five rounds. OSError without root or /dev/net/tun."""
    if why := missing():
        raise OSError(f"bench qos needs {why}")
    figures: dict[str, object] = {}
    clean, repeated = _rounds(rounds, loss=0.0)
    figures |= _ratios("", clean)
    figures["bulk_alone_share"] = _median(one.alone for one in clean)
    figures["stock_libp2p_stream_p50_vs_ours"] = _median(
        statistics.median(one.stock) / statistics.median(one.under) for one in clean
    )
    figures["stock_two_streams_p50_vs_ours"] = _median(
        statistics.median(one.stock_two) / statistics.median(one.under) for one in clean
    )
    figures["stock_p50_ms"] = _median(statistics.median(one.stock) for one in clean)
    figures["lowest_class_share_min"] = round(_lowest_share(), 3)
    figures |= _several_peers()
    lossy, repeated_lossy = _rounds(rounds, loss=0.005)
    figures |= _ratios("loss_", lossy)
    figures["rounds_repeated"] = repeated + repeated_lossy
    return figures


def _ratios(prefix: str, rounds: list[Round]) -> dict[str, object]:
    return {
        f"{prefix}rpc_p50_vs_idle": _median(
            statistics.median(one.under) / statistics.median(one.idle) for one in rounds
        ),
        f"{prefix}rpc_p99_vs_idle": _median(_p99(one.under) / _p99(one.idle) for one in rounds),
        f"{prefix}bulk_share_of_line": _median(one.share for one in rounds),
        f"{prefix}idle_p50_ms": _median(statistics.median(one.idle) for one in rounds),
        f"{prefix}idle_p99_ms": _median(_p99(one.idle) for one in rounds),
        f"{prefix}rpc_p50_ms": _median(statistics.median(one.under) for one in rounds),
        f"{prefix}rpc_p99_ms": _median(_p99(one.under) for one in rounds),
    }


def _rounds(wanted: int, loss: float) -> tuple[list[Round], int]:
    """So many quiet rounds, and how many more it took; loud ones count when that was too many."""
    rounds: list[Round] = []
    loud = wanted
    while loud > 0 and len(rounds) < 2 * wanted:
        with _line(loss) as lab:
            rounds.append(_round(lab, is_whole=not loss))
        quiet = [one for one in rounds if _loudness(one, rounds, loss) <= 1]
        loud = wanted - len(quiet)
    best = sorted(rounds, key=lambda one: _loudness(one, rounds, loss))
    return best[:wanted], len(rounds) - wanted


def _loudness(one: Round, rounds: list[Round], loss: float) -> float:
    """How far its idle calls are above what they may be; 1 is just quiet enough."""
    usual = statistics.median(one.idle)
    if loss:
        usual = statistics.median(_p99(other.idle) for other in rounds)
    return _p99(one.idle) / (IDLE_P99_MAX * usual)


@contextmanager
def _line(loss: float) -> Iterator[EmulatedLab]:
    way = LinkShape(delay_ms=20.0, rate_mbit=RATE_MBIT, queue_bytes=500_000, loss=loss)
    with emulated_lab(["server", "client"], seed=7) as lab:
        lab.shape("client", "server", way)
        yield lab


def _round(lab: EmulatedLab, *, is_whole: bool) -> Round:
    """Idle, under bulk, and, when the round is whole, bulk alone and the rival."""
    ours = Peer(lab, "bench.qos_peer")
    calls = {"do": "calls", "calls": CALLS}
    idle = ours.times_ms(calls)
    ours.tell("bulk", classes=[NORMAL])
    ours.times_ms({"do": "calls", "calls": WARM_CALLS})
    before = ours.count()
    under = ours.times_ms(calls)
    share = ours.count().share_since(before)
    if not is_whole:
        return Round(idle, under, share)
    ours.tell("wait", s=ALONE_AFTER_S)
    before = ours.count()
    ours.tell("wait", s=ALONE_S)
    alone = ours.count().share_since(before)
    ours.close()
    return Round(idle, under, share, alone, _rival(lab, "one"), _rival(lab, "two"))


def _rival(lab: EmulatedLab, streams: str) -> tuple[float, ...]:
    """Times of its calls under its bulk, on so many streams."""
    stock = Peer(lab, "bench.qos_stock", streams)
    stock.say(WARM_CALLS)
    times = stock.times_ms(CALLS)
    stock.close()
    return tuple(times)


def _lowest_share() -> float:
    """The least share of the line that class background got in any 30 s."""
    with _line(0.0) as lab:
        ours = Peer(lab, "bench.qos_peer")
        ours.tell("bulk", classes=[INTERACTIVE, NORMAL, BACKGROUND])
        ours.tell("wait", s=WARM_S)
        counts = [ours.count()]
        for _ in range(STARVE_S):
            ours.tell("wait", s=1)
            counts.append(ours.count())
        ours.close()
    return min(
        counts[at + WINDOW_S].share_since(counts[at], BACKGROUND)
        for at in range(len(counts) - WINDOW_S)
    )


def _several_peers() -> dict[str, object]:
    """How bulk to several peers shares the uplink of the node."""
    servers = ("server", "second", "third")
    with emulated_lab([*servers, "client"], seed=7) as lab:
        for one in servers:
            lab.shape("client", one, LinkShape(delay_ms=20.0))
        lab.shape_uplink("client", LinkShape(rate_mbit=RATE_MBIT, queue_bytes=500_000))
        ours = Peer(lab, "bench.qos_peer", servers=servers)
        ours.tell("bulk", classes=[NORMAL])
        ours.times_ms({"do": "calls", "calls": CALLS})
        before = [ours.count(at) for at in range(len(servers))]
        ours.times_ms({"do": "calls", "calls": CALLS})
        shares = [ours.count(at).share_since(before[at]) for at in range(len(servers))]
        ours.close()
    return {
        "peers_least_vs_fair": round(min(shares) / statistics.mean(shares), 3),
        "peers_bulk_share_of_line": round(sum(shares), 3),
    }


def _p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


def _median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 3)
