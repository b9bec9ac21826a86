"""The router's queues: pure, packets in and packets out.

Source of the round robin: Shreedhar and Varghese, SIGCOMM 1995.
"""

from collections import deque
from typing import Final

from testnet.emulator.shape import Discipline

_QUANTUM_BYTES: Final = 1514
_EF_OR_SELECTOR_MIN: Final = 32
_CS1: Final = 8


def dscp_of(packet: bytes) -> int:
    """The DSCP of an IPv4 packet."""
    return packet[1] >> 2


def flow_of(packet: bytes) -> bytes:
    """Addresses, protocol and ports of an IPv4 packet."""
    header = (packet[0] & 15) * 4
    return packet[9:10] + packet[12:20] + packet[header : header + 4]


def _band_of(packet: bytes) -> bytes:
    dscp = dscp_of(packet)
    return b"0" if dscp >= _EF_OR_SELECTOR_MIN else b"2" if dscp == _CS1 else b"1"


class Queue:
    """Packets that wait for the line, at most `bytes_max` of them."""

    def __init__(self, discipline: Discipline, bytes_max: int) -> None:
        self._discipline = discipline
        self.bytes_max = bytes_max
        self.bytes = 0
        self.dropped = 0
        self._flows: dict[bytes, deque[bytes]] = {}
        self._sizes: dict[bytes, int] = {}
        self._deficits: dict[bytes, int] = {}
        self._turns: deque[bytes] = deque()

    def put(self, packet: bytes) -> None:
        """Queue a packet, or drop it or another by the discipline."""
        name = self._name(packet)
        if self.bytes + len(packet) > self.bytes_max and not self._make_room(name):
            self.dropped += 1
            return
        if name not in self._flows:
            self._flows[name], self._sizes[name], self._deficits[name] = deque(), 0, 0
            self._turns.append(name)
        self._flows[name].append(packet)
        self._sizes[name] += len(packet)
        self.bytes += len(packet)

    def take(self) -> bytes:
        """The next packet for the line; there must be one."""
        if self._discipline is not Discipline.DRR:
            return self._pop(min(self._flows))
        while True:
            name = self._turns[0]
            size = len(self._flows[name][0])
            if self._deficits[name] >= size:
                self._deficits[name] -= size
                return self._pop(name)
            self._deficits[name] += _QUANTUM_BYTES
            self._turns.rotate(-1)

    def _name(self, packet: bytes) -> bytes:
        if self._discipline is Discipline.FIFO:
            return b""
        return _band_of(packet) if self._discipline is Discipline.PRIO else flow_of(packet)

    def _make_room(self, name: bytes) -> bool:
        """Drop a packet of somebody who deserves it more; False when that is the newcomer."""
        if self._discipline is Discipline.FIFO:
            return False
        victim = (
            max(self._flows)
            if self._discipline is Discipline.PRIO
            else max(self._flows, key=lambda flow: self._sizes[flow])
        )
        if victim == name or (self._discipline is Discipline.PRIO and victim < name):
            return False
        self._pop(victim)
        self.dropped += 1
        return True

    def _pop(self, name: bytes) -> bytes:
        packet = self._flows[name].popleft()
        self.bytes -= len(packet)
        self._sizes[name] -= len(packet)
        if not self._flows[name]:
            del self._flows[name], self._sizes[name], self._deficits[name]
            self._turns.remove(name)
        return packet
