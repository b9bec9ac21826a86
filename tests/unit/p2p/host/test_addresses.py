"""Multiaddr texts that we dial and listen on."""

import pytest

from p2p.host.addresses import Address, address_of, parse_address
from p2p.ids import PeerId


@pytest.mark.parametrize(
    "text",
    [
        "/ip4/10.0.0.7/tcp/4001",
        "/ip4/10.0.0.7/tcp/4001/p2p/12D3KooWEkjD",
        "/ip6/fd00::1/tcp/1",
        "/ip6/fe80::1%eth0/tcp/1",
        "/dns/example.org/tcp/443/p2p/12D3KooWEkjD",
        "/dns4/example.org/tcp/443",
        "/dns6/example.org/tcp/65535",
    ],
)
def test_an_address_reads_as_it_is_written(text: str) -> None:
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not like"),
        ("localhost:4001", "is not like"),
        ("/ip4/10.0.0.7", "is not like"),
        ("/ip4/10.0.0.7/tcp/4001/p2p", "is not like"),
        ("/ip4/10.0.0.7/tcp/4001/p2p/x/more", "is not like"),
        ("x/ip4/10.0.0.7/tcp/4001", "is not like"),
        ("/dns/" + "a" * 600 + "/tcp/1", "is not like"),
        ("/ip4/10.0.0.7/udp/4001", "is not a TCP address"),
        ("/unix/10.0.0.7/tcp/4001", "is not a TCP address"),
        ("/ip4/10.0.0.7/tcp/4001/quic/x", "is not a TCP address"),
        ("/ip4/10.0.0.7/tcp/65536", "is not a port"),
        ("/ip4/10.0.0.7/tcp/-1", "is not a port"),
        ("/ip4/10.0.0.7/tcp/\u0661", "is not a port"),
        ("/ip4/10.0.0/tcp/1", "is not an IP address"),
        ("/ip4/::1/tcp/1", "is IPv6"),
        ("/ip6/10.0.0.7/tcp/1", "is IPv4"),
        ("/dns//tcp/1", "has no host name"),
        ("/dns/a b/tcp/1", "has no host name"),
        ("/dns/a\nb/tcp/1", "has no host name"),
    ],
)
def test_what_is_no_address_is_said_to_be_so(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_address(text)


def test_an_ip_host_knows_its_kind() -> None:
    assert str(address_of("10.0.0.7", 1, PeerId("x"))) == "/ip4/10.0.0.7/tcp/1/p2p/x"
    assert address_of("fe80::1%eth0", 1) == Address("ip6", "fe80::1%eth0", 1)
