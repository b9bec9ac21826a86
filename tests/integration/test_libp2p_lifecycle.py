"""Starting and ending a host: ports, and that nothing is left behind."""

import gc
from collections.abc import Callable

import psutil
import pytest
import trio

from p2p.errors import DialError, ListenError, PeerUnreachableError
from p2p.host.admission.port import OpenAdmission
from p2p.host.libp2p.host import Libp2pHost
from p2p.host.libp2p.index import Libp2pIndex
from p2p.host.rpc.service import Rpc
from p2p.ids import NetworkId, TrafficClass
from testnet.lone_peer import Ask, Told, answer, lone_host, reply_bytes


async def runs_into_listen_error(host: Libp2pHost) -> str:
    """The text of the ListenError with which the host fails to start."""
    Rpc(host)
    texts: list[str] = []
    try:
        with trio.fail_after(5):
            await host.run()
    except ListenError as error:
        texts.append(str(error))
    assert len(texts) == 1
    return texts[0]


async def test_a_port_in_use_is_named_with_the_remedy() -> None:
    first = lone_host("alice")
    Rpc(first)
    async with trio.open_nursery() as nursery:
        await nursery.start(first.run)
        taken = first.addresses()[0].partition("/p2p/")[0]
        text = await runs_into_listen_error(lone_host("bob", taken))
        assert taken in text
        assert "the port is in use: stop the program that has it, or choose another port" in text
        nursery.cancel_scope.cancel()


async def test_an_address_that_is_not_ours_is_named_with_the_remedy() -> None:
    text = await runs_into_listen_error(lone_host("alice", "/ip4/203.0.113.7/tcp/4001"))
    assert "/ip4/203.0.113.7/tcp/4001" in text
    assert "ip address" in text


@pytest.mark.parametrize("listen", ["", "/ip4/127.0.0.1", "/dns/example.org/tcp/1", "localhost:1"])
def test_what_is_no_listen_address_is_said_at_once(listen: str) -> None:
    with pytest.raises(ListenError, match="cannot listen"):
        Libp2pHost(b"x" * 32, NetworkId("n"), [listen], OpenAdmission())


def sockets() -> int:
    """Internet sockets of this process."""
    gc.collect()
    return len(psutil.Process().net_connections(kind="inet"))


def tasks() -> int:
    """Tasks of trio, this one included."""
    return trio.lowlevel.current_statistics().tasks_living


async def ask_forever(rpc: Rpc, host: Libp2pHost, **how: float) -> None:
    """Calls one after the other until the node stops."""
    size = int(how.get("body_bytes", 0))
    try:
        while True:
            await rpc.call(
                host.peer_id,
                Ask("?", reply_bytes=size, wait_s=how.get("wait_s", 0.0)),
                Told,
                traffic_class=TrafficClass.NORMAL,
                timeout_s=60,
                body=bytes(size),
            )
    except PeerUnreachableError:
        return


async def dial_in_vain(host: Libp2pHost, address: str) -> None:
    """A dial that is still under way when the node stops."""
    try:
        await host.dial(address)
    except DialError:
        return


async def test_a_host_that_is_cancelled_in_the_midst_of_everything_leaves_nothing() -> None:
    before = (sockets(), tasks())
    with trio.fail_after(20):
        async with trio.open_nursery() as outer:
            silent = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
            port = silent.socket.getsockname()[1]
            for stops in range(2):
                await busy_until_cancelled(outer, stops, port)
            await silent.aclose()
    assert (sockets(), tasks()) == before


async def busy_until_cancelled(outer: trio.Nursery, stops: int, silent_port: int) -> None:
    """Two peers with calls, bodies, dials and strangers under way; one is cancelled first."""
    hosts = [lone_host("alice"), lone_host("bob")]
    rpcs = [Rpc(host) for host in hosts]
    indexes = [Libp2pIndex(host) for host in hosts]
    downs = [trio.Event(), trio.Event()]
    scopes = [trio.CancelScope(), trio.CancelScope()]
    over = [trio.Event(), trio.Event()]

    def told(event: trio.Event) -> Callable[[object, bool], None]:
        return lambda _, is_up: None if is_up else event.set()

    async def one(at: int, *, task_status: trio.TaskStatus[None]) -> None:
        with scopes[at]:
            async with trio.open_nursery() as nursery:
                await nursery.start(rpcs[at].run)
                await nursery.start(hosts[at].run)
                await nursery.start(indexes[at].run)
                task_status.started()
                await trio.sleep_forever()
        over[at].set()

    for at in range(2):
        rpcs[at].serve(Ask, answer, reply_bytes)
        rpcs[at].on_peer(told(downs[at]))
        await outer.start(one, at)
    await hosts[0].dial(hosts[1].addresses()[0])
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(lambda: ask_forever(rpcs[0], hosts[1], wait_s=60))
            nursery.start_soon(lambda: ask_forever(rpcs[1], hosts[0], body_bytes=8_000_000))
        nobody = lone_host("nobody").peer_id
        nursery.start_soon(dial_in_vain, hosts[0], f"/ip4/127.0.0.1/tcp/{silent_port}/p2p/{nobody}")
        host, port = "127.0.0.1", int(hosts[stops].addresses()[0].split("/")[4])
        async with await trio.open_tcp_stream(host, port) as stranger:
            await stranger.send_all(b"\x13/multi")
            for _ in range(3):
                await indexes[0].announce(b"key")
            scopes[stops].cancel()
            await over[stops].wait()
            await downs[1 - stops].wait()
        scopes[1 - stops].cancel()
        await over[1 - stops].wait()
        nursery.cancel_scope.cancel()


async def test_a_host_can_be_run_at_the_port_of_one_that_just_ended() -> None:
    listen = "/ip4/127.0.0.1/tcp/0"
    for _ in range(3):
        alice, bob = lone_host("alice", listen), lone_host("bob")
        Rpc(alice)
        Rpc(bob)
        async with trio.open_nursery() as nursery:
            await nursery.start(alice.run)
            await nursery.start(bob.run)
            await bob.dial(alice.addresses()[0])
            listen = alice.addresses()[0].partition("/p2p/")[0]
            nursery.cancel_scope.cancel()
