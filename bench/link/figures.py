"""The link's figures against its rivals, each a median over interleaved rounds.

Both ends of every connection are processes of their own, started once and kept for all rounds; in
each round every figure is measured for all rivals, one after the other, on the same machine.
`ours` is a whole host of a node on loopback TCP, measured on bare streams of its link; `stock` is
py-libp2p's host with its own Noise and Yamux; `ssl` is a bare trio SSLStream (TLS 1.3). A ratio is
the median of the ratios of single rounds, so that load from elsewhere touches both sides alike.

cpu_per_gb_vs_sslstream
    User and system time of both processes (CLOCK_PROCESS_CPUTIME of each) for one way of bulk in
    writes of 64 KiB, per 10^9 bytes, against the same over SSLStream, which has no streams, no
    flow control, and AES-GCM where Noise prescribes ChaCha20-Poly1305.
throughput_vs_stock_libp2p
    Bytes per second of that bulk, until the receiver has answered that it has all.
calls_per_s_vs_stock
    Echoes of 100 bytes on 64 streams that stay open, one at a time on each.
new_call_p50_vs_stock
    Median of an echo of 100 bytes on a stream opened for it, one after the other. Ours sends the
    protocol and the request together; stock negotiates first. Ours lets a peer open a burst of 64
    streams, then 25 a second: a pause before earns the 50 of a round (as the 64 of the figure
    above) for both rivals. Calls of the node itself open none (`rpc_*`).
rpc_p50_ms, rpc_calls_per_s
    The same echo as a typed call on the class's one long-lived stream; 64 at a time for the rate.
connect_ms, connect_cpu_ms
    From `dial` to a connection that is admitted and in use, loopback, the median of all dials; and
    what disconnecting and connecting costs both processes in CPU, however busy the machine is.
connect_round_trips
    The same through the relay with a round trip of 100 ms, in round trips; TCP's own is not among
    them, the relay answers it. Stock would learn the server's own address and go past the relay.
idle_256_mib
    Resident memory (VmRSS) of a host with 256 connected peers that say nothing but keep-alives.
delay_*_mb_s
    The same bulk through a relay that delays each way by half of the 10 or 100 ms round trip.
rate_100ms_vs_10ms, window_100ms_vs_sslstream, window_100ms_vs_stock, half_rate_100ms_s
    Bulk over one stream that stays open, 512 MiB and at least four seconds, of which the first two
    are not counted: what a window that has grown carries (window_*_ms_mb_s), and after how long
    half of that was first reached.
cipher_*_s_per_gb
    Sealing and opening 65,519-byte messages in this process with nothing around them: the least
    a Noise (ChaCha20-Poly1305) and a TLS (AES-256-GCM) connection can cost.
"""

import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.link import ssl as link_ssl
from bench.link.cipher import cipher_s_per_gb
from bench.processes import Worker, spawned

MIB: Final = 1024 * 1024
BULK_BYTES: Final = {"ours": 96 * MIB, "ssl": 96 * MIB, "stock": 16 * MIB}
DELAYED_BYTES: Final = {"ours": 48 * MIB, "ssl": 48 * MIB, "stock": 16 * MIB}
STEADY_BYTES: Final = 512 * MIB
CALLS: Final = {"ours": 6_400, "stock": 640}
NEW_CALLS: Final = 50
RPC_CALLS: Final = 300
CONNECTS: Final = 3
DELAYS_MS: Final = (10, 100)
CROWD: Final = 256


@dataclass
class Samples:
    """One list of values per figure and rival, a value per round."""

    values: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def add(self, figure: str, stack: str, value: float) -> None:
        """The value of this round."""
        self.values.setdefault((figure, stack), []).append(value)

    def median(self, figure: str, stack: str) -> float:
        """Over the rounds."""
        return statistics.median(self.values[figure, stack])

    def ratio(self, figure: str, rival: str) -> float:
        """Median of ours over the rival's, round by round."""
        pairs = zip(self.values[figure, "ours"], self.values[figure, rival], strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)

    def over(self, figure: str, other: str) -> float:
        """Median of one of our figures over another, round by round."""
        pairs = zip(self.values[figure, "ours"], self.values[other, "ours"], strict=True)
        return statistics.median(one / two for one, two in pairs)


def measure(rounds: int) -> dict[str, object]:
    """All figures; takes about ten minutes with five rounds."""
    samples = Samples()
    with _workers() as (direct, delayed):
        for worker in direct.values():  # warm up: buffers, caches, allocator
            worker.ask("bulk", 16 * MIB)
        for _ in range(rounds):
            for stack, worker in direct.items():
                _bulk_round(samples, stack, worker)
            for stack in ("ours", "stock"):
                _calls_round(samples, stack, direct[stack])
            for (stack, delay_ms), worker in delayed.items():
                rate = worker.ask("bulk", DELAYED_BYTES[stack])
                samples.add(f"delay_{delay_ms}_ms", stack, rate)
                if delay_ms == DELAYS_MS[-1] and stack == "ours":
                    took_ms = worker.ask("connects", CONNECTS)
                    samples.add("round_trips", stack, took_ms / delay_ms)
                rate, half_s = worker.ask_all("steady", STEADY_BYTES)
                samples.add(f"window_{delay_ms}_ms", stack, rate)
                samples.add(f"half_{delay_ms}_ms", stack, half_s)
    return _figures(samples) | cipher_s_per_gb() | {"idle_256_mib": _crowd_mib()}


def _bulk_round(samples: Samples, stack: str, worker: Worker) -> None:
    size = BULK_BYTES[stack]
    before_s = worker.cpu_s()
    samples.add("bulk", stack, worker.ask("bulk", size))
    samples.add("cpu", stack, (worker.cpu_s() - before_s) / (size / 1e9))


def _calls_round(samples: Samples, stack: str, worker: Worker) -> None:
    samples.add("calls", stack, worker.ask("calls", CALLS[stack]))
    samples.add("new_calls", stack, worker.ask("new_calls", NEW_CALLS))
    before_s = worker.cpu_s()
    samples.add("connects", stack, worker.ask("connects", CONNECTS))
    samples.add("connect_cpu", stack, (worker.cpu_s() - before_s) / CONNECTS * 1000)
    if stack == "ours":
        samples.add("rpc_calls", stack, worker.ask("rpc_calls", RPC_CALLS))
        samples.add("rpc_rate", stack, worker.ask("rpc_rate", CALLS[stack] // 2))


@contextmanager
def _workers() -> Iterator[tuple[dict[str, Worker], dict[tuple[str, int], Worker]]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        link_ssl.write_certificate(folder)
        servers = {
            "ours": stack.enter_context(spawned("bench.link.ours")),
            "ssl": stack.enter_context(spawned("bench.link.ssl", str(folder))),
            "stock": stack.enter_context(spawned("bench.link.stock")),
        }
        addresses = {name: server.line() for name, server in servers.items()}
        direct, delayed = {}, {}
        for name, address in addresses.items():
            worker = stack.enter_context(spawned("bench.link.worker", name, address))
            direct[name] = Worker(worker, servers[name])
            for delay_ms in DELAYS_MS:
                port = _port_in(address)
                relay = stack.enter_context(
                    spawned("bench.link.relay", port, str(delay_ms / 2))
                ).line()
                through = address.replace(port, relay, 1)
                client = stack.enter_context(spawned("bench.link.worker", name, through))
                delayed[name, delay_ms] = Worker(client, servers[name])
        for worker_ in (*direct.values(), *delayed.values()):
            worker_.wait_ready()
        yield direct, delayed


def _port_in(address: str) -> str:
    """Of a multiaddr (/ip4/127.0.0.1/tcp/PORT/p2p/ID) or of `PORT:folder`."""
    return address.split("/")[4] if address.startswith("/") else address.partition(":")[0]


def _figures(samples: Samples) -> dict[str, object]:
    figures: dict[str, object] = {
        "cpu_per_gb_vs_sslstream": round(samples.ratio("cpu", "ssl"), 3),
        "throughput_vs_stock_libp2p": round(samples.ratio("bulk", "stock"), 2),
        "calls_per_s_vs_stock": round(samples.ratio("calls", "stock"), 2),
        "new_call_p50_vs_stock": round(samples.ratio("new_calls", "stock"), 3),
        "connect_ms": round(samples.median("connects", "ours"), 2),
        "connect_cpu_ms": round(samples.median("connect_cpu", "ours"), 2),
        "stock_connect_ms": round(samples.median("connects", "stock"), 1),
        "connect_round_trips": round(samples.median("round_trips", "ours"), 1),
        "rate_100ms_vs_10ms": round(samples.over("window_100_ms", "window_10_ms"), 2),
        "window_100ms_vs_sslstream": round(samples.ratio("window_100_ms", "ssl"), 2),
        "window_100ms_vs_stock": round(samples.ratio("window_100_ms", "stock"), 2),
        "half_rate_100ms_s": round(samples.median("half_100_ms", "ours"), 2),
        "rpc_p50_ms": round(samples.median("rpc_calls", "ours"), 3),
        "rpc_calls_per_s": round(samples.median("rpc_rate", "ours")),
    }
    for name in ("ours", "ssl", "stock"):
        figures[f"{name}_cpu_s_per_gb"] = round(samples.median("cpu", name), 3)
        figures[f"{name}_bulk_mb_s"] = round(samples.median("bulk", name), 1)
        for delay_ms in DELAYS_MS:
            rate = samples.median(f"delay_{delay_ms}_ms", name)
            figures[f"{name}_delay_{delay_ms}_ms_mb_s"] = round(rate, 1)
            rate = samples.median(f"window_{delay_ms}_ms", name)
            figures[f"{name}_window_{delay_ms}_ms_mb_s"] = round(rate, 1)
    for name in ("ours", "stock"):
        figures[f"{name}_calls_per_s"] = round(samples.median("calls", name))
        figures[f"{name}_new_call_p50_ms"] = round(samples.median("new_calls", name), 3)
    return figures


def _crowd_mib() -> float:
    """Memory of a host with CROWD idle peers, which live in a process of their own."""
    with spawned("bench.link.ours") as server:
        address = server.line()
        with spawned("bench.link.ours", address, str(CROWD)) as crowd:
            crowd.line()
            return round(server.memory_mib(), 1)
