"""A task's network against what it stands on; figures of `python -m bench tasknet`.

Server, node and callers are processes of their own on loopback. The same program measures from
within a task, where each connection goes through the redirect and the node, and outside of one,
where it is the kernel's own. Each figure is a median over rounds in which all are taken in turn.

stream_vs_link
    Bytes a second of one stream that a task reads from the server, against the same amount over
    one stream of our own link between two hosts (bench/link, `bulk`): what a pool's data takes.
stream_vs_tcp, stream_mb_s, link_mb_s, tcp_mb_s
    Against a plain connection of the same program, and the three rates themselves.
node_cpu_s_per_gb, node_cpu_ms_per_connection
    User and system time of the node's process for the task's stream, and for a connection.
connect_overhead_ms
    A connection by name, to its first byte back: in the task, less outside of it. There a round
    trip is a tenth of a millisecond.
connections_1000
    Of so many at once those that answered as they should.
rst_true, half_close_true
    Whether a reset of the server arrives as one; whether it sees an end and can still answer.
rpc_p99_idle_ms, rpc_p99_ms
    The 99th percentile of calls of class 0 to the node, alone and while the task's stream runs.

After them those of `bench data`: how fast a task reads what it is given.
"""

import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from bench import data
from bench.processes import Process, Worker, settle, spawned
from bench.tasknet import agent

MIB: Final = 1024 * 1024
STREAM_BYTES: Final = 1024 * MIB
LINK_BYTES: Final = 96 * MIB
HALF_BYTES: Final = 3 * MIB
CONNECTS: Final = 200
CONNECTIONS: Final = 1000
CALLS: Final = 400
ANSWER_WITHIN_S: Final = 300.0


class Agent:
    """The measuring program, at the other end of its control connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._lines = sock.makefile("rw")

    def begin(self, figure: str, size: int) -> None:
        """Give an order; `answer` is to be asked for."""
        print(figure, size, file=self._lines, flush=True)

    def answer(self) -> float:
        """To the last order."""
        return float(self._lines.readline())

    def ask(self, figure: str, size: int) -> float:
        """Both, with nothing else under way."""
        settle()
        self.begin(figure, size)
        return self.answer()


class Scene:
    """Everything that runs."""

    def __init__(self, stack: ExitStack) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        control = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        control.settimeout(ANSWER_WITHIN_S)
        server = stack.enter_context(spawned("bench.tasknet.server"))
        ports = str(control.getsockname()[1]), server.line()
        self.node = stack.enter_context(spawned("bench.tasknet.node", str(folder), *ports))
        address = self.node.line()
        self.inside = Agent(_accepted(control))
        stack.enter_context(_outside(*ports))
        self.outside = Agent(_accepted(control))
        caller = stack.enter_context(spawned("bench.tasknet.caller", address))
        self.caller = Worker(caller, self.node)
        self.caller.wait_ready()
        self.link = _link(stack)
        self._caller = caller

    def calls_under_load_ms(self) -> float:
        """While the task pulls as fast as it can."""
        self.inside.begin("pull", STREAM_BYTES * 4)
        self._caller.tell(f"calls {CALLS}")
        said = self._caller.line()
        self.inside.answer()
        return float(said.partition(":")[2].strip(" }"))


def _accepted(control: socket.socket) -> socket.socket:
    sock, _ = control.accept()
    sock.settimeout(ANSWER_WITHIN_S)
    return sock


@contextmanager
def _outside(control_port: str, server_port: str) -> Iterator[None]:
    argv = [sys.executable, agent.__file__, "127.0.0.1", control_port, "localhost", server_port]
    with subprocess.Popen(argv) as process:  # noqa: S603
        try:
            yield
        finally:
            process.kill()


def _link(stack: ExitStack) -> Worker:
    server = stack.enter_context(spawned("bench.link.ours"))
    client: Process = stack.enter_context(spawned("bench.link.worker", "ours", server.line()))
    worker = Worker(client, server)
    worker.wait_ready()
    return worker


def measure(rounds: int) -> dict[str, object]:
    """All figures; some twenty seconds a round."""
    return {**_measure(rounds), **data.measure(rounds)}


def _measure(rounds: int) -> dict[str, object]:
    samples: dict[str, list[float]] = {}
    with ExitStack() as stack:
        scene = Scene(stack)
        scene.link.ask("bulk", LINK_BYTES)  # warm up
        scene.inside.ask("pull", LINK_BYTES)
        for _ in range(rounds):
            for figure, value in _round(scene).items():
                samples.setdefault(figure, []).append(value)
    return {
        figure: min(values) if figure in _ALL_OF else round(statistics.median(values), 3)
        for figure, values in samples.items()
    }


_ALL_OF: Final = ("connections_1000", "rst_true", "half_close_true")
"""Of these every round counts."""


def _round(scene: Scene) -> dict[str, float]:
    before_s = scene.node.cpu_s()
    stream = scene.inside.ask("pull", STREAM_BYTES) / 1e6
    cpu_s = scene.node.cpu_s() - before_s
    link = scene.link.ask("bulk", LINK_BYTES)
    tcp = scene.outside.ask("pull", STREAM_BYTES) / 1e6
    before_s = scene.node.cpu_s()
    inside_ms = scene.inside.ask("connect", CONNECTS)
    connect_s = (scene.node.cpu_s() - before_s) / CONNECTS
    outside_ms = scene.outside.ask("connect", CONNECTS)
    return {
        "stream_vs_link": stream / link,
        "stream_vs_tcp": stream / tcp,
        "stream_mb_s": stream,
        "link_mb_s": link,
        "tcp_mb_s": tcp,
        "node_cpu_s_per_gb": cpu_s / (STREAM_BYTES / 1e9),
        "connect_overhead_ms": inside_ms - outside_ms,
        "node_cpu_ms_per_connection": connect_s * 1000,
        "connections_1000": scene.inside.ask("many", CONNECTIONS),
        "rst_true": scene.inside.ask("reset", 1),
        "half_close_true": scene.inside.ask("half", HALF_BYTES),
        "rpc_p99_idle_ms": scene.caller.ask("calls", CALLS),
        "rpc_p99_ms": scene.calls_under_load_ms(),
    }
