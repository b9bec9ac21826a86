"""Each kind of translator lets in what it should, and packets stay valid on the way."""

import pytest

from testnet.emulator.nat import Nat, NatKind

PUBLIC = bytes([10, 77, 200, 1])
INSIDE = (bytes([10, 77, 0, 1]), 4001)
BOB, BOB_TOO, CAROL = (b"\x0a\x4d\x00\x02", 7), (b"\x0a\x4d\x00\x02", 8), (b"\x0a\x4d\x00\x03", 7)
TCP, UDP = 6, 17
End = tuple[bytes, int]


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(int.from_bytes(data[at : at + 2].ljust(2, b"\0")) for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF & ~total


def packet(source: End, target: End, protocol: int = UDP, *, summed: bool = True) -> bytes:
    """A valid packet with a few bytes of payload."""
    body = bytearray(source[1].to_bytes(2) + target[1].to_bytes(2))
    at = 16 if protocol == TCP else 6
    body += bytes(at + 4 - len(body)) + b"hello"
    pseudo = source[0] + target[0] + bytes([0, protocol]) + len(body).to_bytes(2)
    if summed:
        body[at : at + 2] = checksum(pseudo + bytes(body)).to_bytes(2)
    head = bytearray(
        b"\x45\0\0\0\0\0\0\0\x40" + bytes([protocol]) + b"\0\0" + source[0] + target[0]
    )
    head[10:12] = checksum(bytes(head)).to_bytes(2)
    return bytes(head + body)


def ends(data: bytes | None) -> tuple[End, End]:
    """Both ends of a packet whose checksums hold."""
    assert data is not None
    head, body = data[:20], data[20:]
    assert checksum(head) == 0
    pseudo = head[12:20] + bytes([0, head[9]]) + len(body).to_bytes(2)
    assert checksum(pseudo + body) == 0
    return (
        (head[12:16], int.from_bytes(body[:2])),
        (head[16:20], int.from_bytes(body[2:4])),
    )


@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize("kind", NatKind)
def test_an_answer_finds_its_way_back(kind: NatKind, protocol: int) -> None:
    nat = Nat(kind, PUBLIC)
    source, target = ends(nat.outgoing(packet(INSIDE, BOB, protocol)))
    assert (source[0], target) == (PUBLIC, BOB)
    assert ends(nat.incoming(packet(BOB, source, protocol))) == (BOB, INSIDE)


@pytest.mark.parametrize(
    ("kind", "lets_in"),
    [
        (NatKind.FULL_CONE, [BOB, BOB_TOO, CAROL]),
        (NatKind.RESTRICTED, [BOB, BOB_TOO]),
        (NatKind.PORT_RESTRICTED, [BOB]),
        (NatKind.SYMMETRIC, [BOB]),
    ],
)
def test_who_else_gets_in_depends_on_the_kind(kind: NatKind, lets_in: list[End]) -> None:
    nat = Nat(kind, PUBLIC)
    public, _ = ends(nat.outgoing(packet(INSIDE, BOB)))
    got = [one for one in (BOB, BOB_TOO, CAROL) if nat.incoming(packet(one, public)) is not None]
    assert got == lets_in


@pytest.mark.parametrize("kind", NatKind)
def test_only_a_symmetric_one_has_a_port_for_each_destination(kind: NatKind) -> None:
    nat = Nat(kind, PUBLIC)
    ports = {ends(nat.outgoing(packet(INSIDE, one)))[0] for one in (BOB, CAROL)}
    assert len(ports) == (2 if kind is NatKind.SYMMETRIC else 1)


def test_two_behind_one_address_are_kept_apart() -> None:
    nat = Nat(NatKind.PORT_RESTRICTED, PUBLIC)
    neighbour = (bytes([10, 77, 0, 9]), INSIDE[1])
    first, _ = ends(nat.outgoing(packet(INSIDE, BOB)))
    second, _ = ends(nat.outgoing(packet(neighbour, BOB)))
    assert ends(nat.incoming(packet(BOB, first)))[1] == INSIDE
    assert ends(nat.incoming(packet(BOB, second)))[1] == neighbour


def test_nobody_gets_in_unasked_and_nothing_but_tcp_and_udp_gets_out() -> None:
    nat = Nat(NatKind.FULL_CONE, PUBLIC)
    assert nat.incoming(packet(BOB, (PUBLIC, 20_000))) is None
    ping = bytearray(packet(INSIDE, BOB))
    ping[9] = 1
    assert nat.outgoing(bytes(ping)) is None


def test_a_datagram_without_a_checksum_stays_without() -> None:
    nat = Nat(NatKind.FULL_CONE, PUBLIC)
    out = nat.outgoing(packet(INSIDE, BOB, summed=False))
    assert out is not None
    assert out[26:28] == b"\0\0"
