"""What a dial that cannot succeed is told, and how soon; and several addresses of one peer."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from p2p.errors import DialError, PeerUnreachableError
from p2p.host.libp2p.host import HostConfig, Libp2pHost
from p2p.host.peers.config import DialConfig
from p2p.host.rpc.service import Rpc
from p2p.ids import TrafficClass
from testnet.lone_peer import lone_host

QUICK = HostConfig(
    dial=DialConfig(resolve_within_s=2.0, connect_within_s=0.5, upgrade_within_s=0.5)
)


@asynccontextmanager
async def running(*hosts: Libp2pHost) -> AsyncIterator[None]:
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for host in hosts:
                await nursery.start(Rpc(host).run)
                await nursery.start(host.run)
            yield
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def server(answer: Callable[[trio.SocketStream], Awaitable[object]]) -> AsyncIterator[str]:
    """A program that is no node; the address at which somebody believes a node to be."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await answer(stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield f"/ip4/127.0.0.1/tcp/{port}/p2p/{lone_host('bob').peer_id}"
        nursery.cancel_scope.cancel()


async def web_server(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def mail_server(stream: trio.SocketStream) -> None:
    await stream.send_all(b"220 mail.example.org ESMTP\r\n")
    await trio.sleep_forever()


async def says_nothing(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def hangs_up(stream: trio.SocketStream) -> None:
    await stream.receive_some()


async def breaks_off(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(b"\x13/multistream/1.0.0\n\x07/noise\n" + b"\x00\x40" + bytes(64))


@pytest.mark.parametrize(
    ("answer", "cause", "words"),
    [
        (web_server, "proxy", "HTTP proxy or web server"),
        (mail_server, "port", "another program"),
        (says_nothing, "port", "said nothing"),
        (hangs_up, "port", "closed the connection at once"),
        (breaks_off, "peer", "handshake failed"),
    ],
)
async def test_who_answers_instead_of_a_node_is_told_apart(
    answer: Callable[[trio.SocketStream], Awaitable[object]], cause: str, words: str
) -> None:
    alice = lone_host("alice", config=QUICK)
    async with running(alice), server(answer) as address:
        with pytest.raises(DialError, match=words) as caught:
            await alice.dial(address)
        assert caught.value.cause == cause


async def test_another_machine_at_the_address_is_not_taken_for_the_right_one() -> None:
    alice, bob = lone_host("alice"), lone_host("bob")
    async with running(alice, bob):
        listens_on = bob.addresses()[0].partition("/p2p/")[0]
        with pytest.raises(DialError, match="another machine answers") as caught:
            await alice.dial(f"{listens_on}/p2p/{lone_host('carol').peer_id}")
        assert caught.value.cause == "peer"
        assert alice.peers() == bob.peers() == ()


async def test_a_name_that_does_not_exist_blames_the_name() -> None:
    alice = lone_host("alice", config=QUICK)
    async with running(alice):
        address = f"/dns/no-such-host.invalid/tcp/4001/p2p/{lone_host('bob').peer_id}"
        with pytest.raises(DialError, match=r"no-such-host\.invalid") as caught:
            await alice.dial(address)
        assert caught.value.cause == "dns"


@pytest.mark.parametrize(
    "address",
    ["/ip4/127.0.0.1/tcp/4001", "/ip4/127.0.0.1/tcp/4001/p2p/nonsense", "localhost:4001", ""],
)
async def test_what_names_no_peer_is_no_address_to_dial(address: str) -> None:
    alice = lone_host("alice")
    async with running(alice):
        with pytest.raises(DialError) as caught:
            await alice.dial(address)
        assert caught.value.cause == "peer"


async def test_the_address_that_works_is_found_among_those_that_do_not() -> None:
    alice, bob = lone_host("alice"), lone_host("bob")
    async with running(alice, bob), server(says_nothing) as silent:
        alice.learn(bob.peer_id, ["/ip4/127.0.0.1/tcp/1", silent, *bob.addresses()])
        with trio.fail_after(2):
            await alice.send(bob.peer_id, TrafficClass.BACKGROUND, b"\x91\x00")
        assert alice.peers() == (bob.peer_id,)


async def test_a_name_is_resolved() -> None:
    alice, bob = lone_host("alice"), lone_host("bob")
    async with running(alice, bob):
        address = bob.addresses()[0].replace("/ip4/127.0.0.1/", "/dns4/localhost/")
        assert await alice.dial(address) == bob.peer_id


async def test_whoever_is_told_that_another_runs_with_its_key_remembers_that() -> None:
    low, high = sorted((lone_host("alice"), lone_host("bob")), key=lambda host: host.peer_id)
    copy = lone_host("alice" if low.peer_id == lone_host("alice").peer_id else "bob")
    async with running(low, high, copy):
        (where,) = high.addresses()
        await low.dial(where)
        copy.learn(high.peer_id, [where])
        with pytest.raises(PeerUnreachableError, match="copied home"):
            await copy.send(high.peer_id, TrafficClass.CONTROL, b"by a call that few hear of")
        assert copy.copies() == {low.peer_id: ()}
        assert low.copies() == {}
