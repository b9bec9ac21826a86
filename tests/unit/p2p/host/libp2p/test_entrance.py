"""Which addresses of a machine are told, in which order; and machines that lack a family."""

import errno
import socket

import pytest
import trio

from p2p.errors import ListenError
from p2p.host.peers.own_addresses import Entrance, Own, best_first

HOSTS = ("127.0.0.1", "172.17.0.1", "192.168.1.7", "::1", "2001:db8::7", "fe80::1", "169.254.0.9")


def test_the_address_on_the_way_to_the_world_comes_first_and_loopback_last() -> None:
    assert best_first(HOSTS, ["192.168.1.7", "2001:db8::7"]) == (
        "192.168.1.7",
        "2001:db8::7",
        "172.17.0.1",
        "127.0.0.1",
        "::1",
    )
    assert best_first(["127.0.0.1"], ["10.0.0.1"]) == ("127.0.0.1",)


async def bound(*listen: str, announce: tuple[str, ...] = (), own: tuple[str, ...]) -> Entrance:
    made = Entrance(listen, announce)
    for listener in await made.open():
        await listener.aclose()
    made.own = Own(own)
    return made


async def test_wildcards_are_spelt_out_without_loopback_where_there_is_anything_else() -> None:
    own = ("192.168.1.7", "2001:db8::7", "127.0.0.1", "::1")
    made = await bound("/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0", own=own)
    hosts = [address.split("/")[2] for address in made.addresses()]
    assert hosts == ["192.168.1.7", "2001:db8::7"]
    made.own = Own(("127.0.0.1", "::1"))  # the cable is out
    hosts = [address.split("/")[2] for address in made.addresses()]
    assert hosts == ["127.0.0.1", "::1"]
    assert made.addresses(with_loopback=False) == ()


async def test_what_is_announced_by_hand_is_told_as_it_is() -> None:
    made = await bound(
        "/ip4/127.0.0.1/tcp/0", announce=("/dns/lab.example.org/tcp/4850",), own=("127.0.0.1",)
    )
    assert made.addresses(with_loopback=False) == ("/dns/lab.example.org/tcp/4850",)


@pytest.mark.parametrize("lacks", [socket.AF_INET, socket.AF_INET6])
async def test_a_family_that_the_machine_lacks_is_passed_over_in_wildcards_only(
    lacks: socket.AddressFamily, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = trio.open_tcp_listeners

    async def without(port: int, *, host: str) -> list[trio.SocketListener]:
        if (":" in host) == (lacks == socket.AF_INET6):
            raise OSError(errno.EAFNOSUPPORT, "no such family")
        return list(await real(port, host=host))

    monkeypatch.setattr(trio, "open_tcp_listeners", without)
    wild = ["/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0"]
    (only,) = await Entrance(wild, ()).open()
    assert only.socket.family != lacks
    await only.aclose()
    lacking = wild[0] if lacks == socket.AF_INET else wild[1]
    with pytest.raises(ListenError, match="cannot listen on"):
        await Entrance([lacking], ()).open()
    named = "/ip4/127.0.0.1/tcp/0" if lacks == socket.AF_INET else "/ip6/::1/tcp/0"
    with pytest.raises(ListenError, match="cannot listen on"):
        await Entrance([*wild, named], ()).open()
