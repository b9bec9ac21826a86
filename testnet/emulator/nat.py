"""Address translators of the four classic kinds: pure, IPv4 packets of TCP and UDP in and out.

    kind             a port of ours maps to       lets in
    full cone        one public port              anybody
    restricted       one public port              addresses we have sent to from it
    port restricted  one public port              addresses and ports we have sent to from it
    symmetric        one for each destination     that destination

Sources: RFC 3489, section 5; checksums by difference: RFC 1624.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

_TCP, _UDP = 6, 17
_CHECKSUM_AT: Final = {_TCP: 16, _UDP: 6}
_FIRST_PORT: Final = 20_000
_LAST_PORT: Final = 65_535


class NatKind(StrEnum):
    """How freely packets come back."""

    FULL_CONE = "full cone"
    RESTRICTED = "restricted"
    PORT_RESTRICTED = "port restricted"
    SYMMETRIC = "symmetric"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address (4 bytes) and a port of a protocol."""

    protocol: int
    address: bytes
    port: int


@dataclass(slots=True)
class _Mapping:
    inside: Endpoint
    sent_to: set[Endpoint] = field(default_factory=set)


class Nat:
    """One public address, and whoever is behind it."""

    def __init__(self, kind: NatKind, public: bytes) -> None:
        self.kind = kind
        self.public = public
        self._ports: dict[tuple[Endpoint, Endpoint | None], int] = {}
        self._mappings: dict[tuple[int, int], _Mapping] = {}

    def outgoing(self, packet: bytes) -> bytes | None:
        """A packet from inside as it leaves; None for what is neither TCP nor UDP."""
        ends = _ends(packet)
        if ends is None:
            return None
        source, target = ends
        key = (source, target if self.kind is NatKind.SYMMETRIC else None)
        port = self._ports.get(key)
        if port is None:
            port = _FIRST_PORT + len(self._ports)
            if port > _LAST_PORT:
                return None
            self._ports[key] = port
            self._mappings[source.protocol, port] = _Mapping(source)
        self._mappings[source.protocol, port].sent_to.add(target)
        return _rewritten(packet, 12, 0, Endpoint(source.protocol, self.public, port))

    def incoming(self, packet: bytes) -> bytes | None:
        """A packet to the public address as it arrives inside; None when it is not let in."""
        ends = _ends(packet)
        if ends is None:
            return None
        source, target = ends
        mapping = self._mappings.get((target.protocol, target.port))
        if mapping is None or not self._lets_in(mapping, source):
            return None
        return _rewritten(packet, 16, 2, mapping.inside)

    def _lets_in(self, mapping: _Mapping, source: Endpoint) -> bool:
        if self.kind is NatKind.FULL_CONE:
            return True
        if self.kind is NatKind.RESTRICTED:
            return any(one.address == source.address for one in mapping.sent_to)
        return source in mapping.sent_to


def _ends(packet: bytes) -> tuple[Endpoint, Endpoint] | None:
    header, protocol = (packet[0] & 15) * 4, packet[9]
    if protocol not in _CHECKSUM_AT or len(packet) < header + 8:
        return None
    ports = packet[header : header + 4]
    return (
        Endpoint(protocol, packet[12:16], int.from_bytes(ports[:2])),
        Endpoint(protocol, packet[16:20], int.from_bytes(ports[2:])),
    )


def _rewritten(packet: bytes, address_at: int, port_at: int, end: Endpoint) -> bytes:
    """The packet with one end replaced, its checksums with it."""
    out, header = bytearray(packet), (packet[0] & 15) * 4
    old_address = packet[address_at : address_at + 4]
    old_port = packet[header + port_at : header + port_at + 2]
    new_port = end.port.to_bytes(2)
    out[address_at : address_at + 4] = end.address
    out[header + port_at : header + port_at + 2] = new_port
    _mend(out, 10, old_address, end.address)
    checksum_at = header + _CHECKSUM_AT[end.protocol]
    if end.protocol == _TCP or any(out[checksum_at : checksum_at + 2]):  # UDP may have none
        _mend(out, checksum_at, old_address + old_port, end.address + new_port)
    return bytes(out)


def _mend(packet: bytearray, at: int, old: bytes, new: bytes) -> None:
    """Take a difference in 16-bit words into a checksum."""
    total = 0xFFFF & ~int.from_bytes(packet[at : at + 2])
    for word in range(0, len(old), 2):
        total += 0xFFFF & ~int.from_bytes(old[word : word + 2])
        total += int.from_bytes(new[word : word + 2])
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    packet[at : at + 2] = (0xFFFF & ~total).to_bytes(2)
