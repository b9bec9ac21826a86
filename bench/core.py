"""The core figures of a swarm of real nodes on this machine, each a median over the rounds.

put_mb_s, get_mb_s
    A fresh random object of 64 MB goes in through the HTTP API of one node of seven (profile test,
    every node a site of its own, code 3 of 6) and out through that of a node that has not read it
    before. The client is this process, the nodes are seven others; all share the machine's cores.
repair_s
    From SIGKILL of a machine that holds a shard until every segment of the newest object has all
    its shards on living machines again, detection of the death (2 s of silence count as lost in
    profile test) included. The machine is started again after each round.
rpc_p50_ms, calls_per_s
    A call of 100 bytes that is echoed, over one encrypted connection between two processes: one
    after the other for the median, then 64 at a time for the rate.
auction_p50_ms
    From the request that submits a task to the winner having written the award down (as recorded
    by the submitter, in whole milliseconds of the machine's clock), six machines bidding.
task_overhead_ms
    From the request that submits `/bin/true` to the answer that it is done, through the HTTP API:
    auction, sandbox, result and receipt. The command itself takes about a millisecond.
node_ready_s
    From the spawn of a daemon to /readyz answering yes, asked every 10 ms, the first node of a
    network. Page cache warm and modules compiled, as an installed node has them: one start before
    is not counted.
idle_mem_mb
    RssAnon + RssShmem of a node among seven that has had nothing to do for five seconds, before
    any object or task; the median over the nodes.
"""

import io
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import trio

from bench import rpc_client
from swarmnode.demo.launcher import LocalNode, LocalSwarm, new_root
from swarmnode.demo.report import until

MB: Final = 1_000_000
OBJECT_BYTES: Final = 64 * MB
TASKS_PER_ROUND: Final = 6
NODES: Final = 7


def measure(rounds: int) -> dict[str, object]:
    """All figures; takes about two minutes with five rounds."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else every start compiles the whole program
    _ready_s()
    figures: dict[str, object] = {"node_ready_s": _median(_ready_s, rounds)}
    figures |= _rpc_figures(rounds)
    with _swarm(NODES) as swarm:
        figures["idle_mem_mb"] = _idle_mem_mb(swarm)
        figures |= _storage_figures(swarm, rounds)
        figures |= _task_figures(swarm, rounds)
    return figures


def _median(sample: Callable[[], float], rounds: int) -> float:
    return round(statistics.median(sample() for _ in range(rounds)), 3)


@contextmanager
def _swarm(nodes: int) -> Iterator[LocalSwarm]:
    swarm = LocalSwarm(new_root())
    try:
        for number in range(nodes):
            swarm.add(f"n{number}")
        for node in swarm.nodes:
            swarm.start(node)
        swarm.wait_ready()
        until(lambda: _all_alive(swarm), within_s=30, what="full membership")
        yield swarm
        swarm.stop()
    finally:
        swarm.destroy()


def _all_alive(swarm: LocalSwarm) -> bool:
    want = len(swarm.alive())
    return all(node.client.get("/api/v1/status")["members_alive"] == want for node in swarm.alive())


def _ready_s() -> float:
    swarm = LocalSwarm(new_root())
    try:
        node = swarm.add("alone", NETWORK__ALONE="true")
        began = time.monotonic()
        swarm.start(node)
        until(lambda: swarm.is_ready(node), within_s=20, what="ready", every_s=0.01)
        took = time.monotonic() - began
        swarm.stop()
        return took
    finally:
        swarm.destroy()


def _rpc_figures(rounds: int) -> dict[str, object]:
    server = subprocess.Popen(
        [sys.executable, "-m", "bench.rpc_server"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        samples = trio.run(rpc_client.measure, address, rounds)
    finally:
        server.terminate()
        server.wait()
    return {
        "rpc_p50_ms": round(statistics.median(s.p50_ms for s in samples), 3),
        "calls_per_s": round(statistics.median(s.calls_per_s for s in samples)),
    }


def _idle_mem_mb(swarm: LocalSwarm) -> float:
    threading.Event().wait(5.0)
    return round(statistics.median(_memory_bytes(node.pid) for node in swarm.nodes) / MB, 1)


def _memory_bytes(pid: int) -> int:
    """RssAnon + RssShmem of a process; LMDB's mapped pages are not memory in use."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return sum(int(fields[name].split()[0]) * 1024 for name in ("RssAnon", "RssShmem"))


def _storage_figures(swarm: LocalSwarm, rounds: int) -> dict[str, object]:
    puts, gets, repairs = [], [], []
    for number in range(rounds):
        writer, reader = swarm.nodes[0], swarm.nodes[1 + number % (NODES - 1)]
        data = os.urandom(OBJECT_BYTES)
        began = time.monotonic()
        receipt = writer.client.upload("/api/v1/objects?name=bench", io.BytesIO(data))
        puts.append(OBJECT_BYTES / MB / (time.monotonic() - began))
        began = time.monotonic()
        size = sum(
            map(len, reader.client.download("/api/v1/objects/read", {"cap": receipt["cap"]}))
        )
        gets.append(size / MB / (time.monotonic() - began))
        if size != OBJECT_BYTES:
            raise AssertionError(f"read {size} of {OBJECT_BYTES} bytes")
        repairs.append(_repair_s(swarm, writer, receipt))
        writer.client.call("DELETE", f"/api/v1/objects/{receipt['address']}")
    return {
        "put_mb_s": round(statistics.median(puts), 1),
        "get_mb_s": round(statistics.median(gets), 1),
        "repair_s": round(statistics.median(repairs), 2),
    }


def _repair_s(swarm: LocalSwarm, writer: LocalNode, receipt: dict[str, Any]) -> float:
    path = f"/api/v1/objects/{receipt['address']}"
    lines = writer.client.get(path)["shards"]
    victim = next(
        node
        for node in swarm.nodes
        if node is not writer and any(line["holder"] == node.peer for line in lines)
    )

    def whole() -> bool:
        detail = writer.client.get(path)
        holders = {line["holder"] for line in detail["shards"] if line["alive"]}
        return detail["shards_live"] >= receipt["n"] and victim.peer not in holders

    began = time.monotonic()
    swarm.kill_machine(victim)
    until(whole, within_s=60, what="repair")
    took = time.monotonic() - began
    swarm.start(victim)
    until(lambda: _all_alive(swarm), within_s=60, what="the machine's return")
    return took


def _task_figures(swarm: LocalSwarm, rounds: int) -> dict[str, object]:
    client = swarm.nodes[0].client
    auctions, whole = [], []
    for _ in range(rounds * TASKS_PER_ROUND):
        began, requested_ms = time.monotonic(), time.time() * 1000
        task = client.call("POST", "/api/v1/tasks", {"run": ["/bin/true"]})["task"]
        done = client.get(f"/api/v1/tasks/{task}/wait?timeout_s=60", timeout_s=65)
        whole.append((time.monotonic() - began) * 1000)
        if done["state"] != "done":
            raise AssertionError(f"/bin/true ended {done['state']}")
        attempt = client.get(f"/api/v1/tasks/{task}/explain")["history"][0]
        auctions.append(attempt["accepted_ms"] - requested_ms)
    return {
        "auction_p50_ms": round(statistics.median(auctions), 1),
        "task_overhead_ms": round(statistics.median(whole), 1),
    }
