"""The router's process: `python -m testnet.emulator.router`, driven by JSON lines on its stdin.

The first line says which descriptors are the hosts' wires; each further line is an order and is
answered by one line. It ends with its stdin, and so with whoever started it.
"""

import gc
import json
import math
import os
import random
import select
import socket
import sys
import time
from typing import Any, Final

from testnet.emulator.nat import Nat, NatKind
from testnet.emulator.pipe import Pipe
from testnet.emulator.shape import LinkShape

_READS_MAX: Final = 64
_PACKET_BYTES_MAX: Final = 65_536
_IDLE_S: Final = 1.0
_PRIORITY: Final = 10


class Router:
    """Pipes between all ordered pairs of hosts."""

    def __init__(self, wires: dict[str, int], addresses: dict[str, str], seed: int) -> None:
        self._wires = wires
        self._names = {socket.inet_aton(address): name for name, address in addresses.items()}
        self._pipes = {
            (source, target): Pipe(LinkShape(), _rng(f"{seed}/{source}/{target}"))
            for source in wires
            for target in wires
            if source != target
        }
        self._uplinks: dict[str, Pipe] = {}
        self._downlinks: dict[str, Pipe] = {}
        self._busy: dict[tuple[str, str], Pipe] = {}
        """Of the pairs' pipes, those with something in them: of many hosts most have nothing."""
        self._seed = seed
        self._cut: dict[tuple[str, str], None] = {}
        self._nat_of: dict[str, Nat] = {}
        self._nat_at: dict[bytes, Nat] = {}
        self._unrouted = 0

    def on_packet(self, source: str, packet: bytes, now_s: float) -> None:
        """A host sent a packet."""
        routed = self._routed(source, packet) if packet[0] >> 4 == 4 else None
        if routed is None or (source, routed[0]) in self._cut:
            self._unrouted += 1
        else:
            target, packet = routed
            uplink = self._uplinks.get(source)
            if uplink is not None:
                uplink.offer(packet, now_s)
            else:
                self._send(source, target, packet, now_s)

    def _send(self, source: str, target: str, packet: bytes, now_s: float) -> None:
        pipe = self._busy[source, target] = self._pipes[source, target]
        pipe.offer(packet, now_s)

    def _routed(self, source: str, packet: bytes) -> tuple[str, bytes] | None:
        """The host that a packet goes to, and the packet as it arrives there."""
        ours, theirs = self._nat_of.get(source), self._nat_at.get(packet[16:20])
        target = self._names.get(packet[16:20])
        if target is not None and self._nat_of.get(target) is ours:
            return None if target == source else (target, packet)
        if ours is not None:
            translated = ours.outgoing(packet)
            if translated is None:
                return None
            packet = translated
        if theirs is not None:
            translated = theirs.incoming(packet)
            if translated is None:
                return None
            packet = translated
        target = self._names.get(packet[16:20])
        if target is None or target == source or self._nat_of.get(target) is not theirs:
            return None  # nobody there, ourselves by our public address, or not by its address
        return target, packet

    def deliver(self, now_s: float) -> float:
        """Write what has arrived; returns when to come back."""
        next_s = now_s + _IDLE_S
        for source, uplink in self._uplinks.items():
            for packet in uplink.advance(now_s):
                self._send(source, self._names[packet[16:20]], packet, now_s)
            next_s = min(next_s, uplink.next_s())
        for (source, target), pipe in list(self._busy.items()):
            for packet in pipe.advance(now_s):
                if (source, target) not in self._cut:
                    self._arrive(target, packet, now_s)
            if (soon_s := pipe.next_s()) == math.inf:
                del self._busy[source, target]
            next_s = min(next_s, soon_s)
        for target, downlink in self._downlinks.items():
            for packet in downlink.advance(now_s):
                _write(self._wires[target], packet)
            next_s = min(next_s, downlink.next_s())
        return next_s

    def _arrive(self, target: str, packet: bytes, now_s: float) -> None:
        downlink = self._downlinks.get(target)
        if downlink is not None:
            downlink.offer(packet, now_s)
        else:
            _write(self._wires[target], packet)

    def order(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out one order; returns its answer."""
        match order["op"]:
            case "shape":
                shape = LinkShape.from_json(order["shape"])
                for pair in order["pairs"]:
                    self._pipes[tuple(pair)].reshape(shape)
            case "uplink" | "downlink":
                host, shape = order["host"], LinkShape.from_json(order["shape"])
                links = self._uplinks if order["op"] == "uplink" else self._downlinks
                links[host] = Pipe(shape, _rng(f"{self._seed}/{order['op']}/{host}"))
            case "nat":
                nat = Nat(NatKind(order["kind"]), socket.inet_aton(order["public"]))
                self._nat_at[nat.public] = nat
                self._nat_of |= dict.fromkeys(order["hosts"], nat)
            case "cut":
                self._cut = {tuple(pair): None for pair in order["pairs"]}
            case "stats":
                return {f"{a}>{b}": _stats(pipe) for (a, b), pipe in self._pipes.items()}
        return {}


def _rng(seed: str) -> random.Random:
    return random.Random(seed)  # noqa: S311 - which packets are lost, not a secret


def _stats(pipe: Pipe) -> dict[str, int]:
    return {
        "bytes": pipe.carried_bytes,
        "lost": pipe.lost,
        "dropped": pipe.dropped,
        "queue_high": pipe.queue_bytes_high,
    }


def _write(wire: int, packet: bytes) -> None:
    try:
        os.write(wire, packet)
    except BlockingIOError:
        return  # the host's own queue is full: a wire drops then


def _read_some(router: Router, source: str, wire: int) -> None:
    for _ in range(_READS_MAX):
        try:
            packet = os.read(wire, _PACKET_BYTES_MAX)
        except BlockingIOError:
            return
        router.on_packet(source, packet, time.monotonic())


def _is_realtime() -> bool:
    """Ask to run before everybody else: a late router is a delay nobody asked for."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    except PermissionError:
        return False
    return True


def main() -> None:
    """Route until stdin ends."""
    setup = json.loads(sys.stdin.buffer.readline())
    router = Router(setup["wires"], setup["addresses"], setup["seed"])
    sources = {wire: name for name, wire in setup["wires"].items()}
    gc.disable()  # no cycles are made here, and a collection is a delay
    print(json.dumps({"realtime": _is_realtime()}), flush=True)
    orders = sys.stdin.fileno()
    while True:
        next_s = router.deliver(time.monotonic())
        wait_s = max(0.0, next_s - time.monotonic())
        for ready in select.select([*sources, orders], (), (), wait_s)[0]:
            if ready != orders:
                _read_some(router, sources[ready], ready)
                continue
            line = sys.stdin.buffer.readline()
            if not line:
                return
            print(json.dumps(router.order(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
