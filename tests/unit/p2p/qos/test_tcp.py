"""What the kernel tells of a connection and takes from us."""

import socket
import sys

import pytest
import trio

from p2p.qos import tcp

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's tcp_info")


async def pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    near = await trio.open_tcp_stream(*listeners[0].socket.getsockname()[:2])
    far = await listeners[0].accept()
    await listeners[0].aclose()
    return near, far


@linux
async def test_the_kernel_tells_what_has_arrived_and_how_long_it_took() -> None:
    near, far = await pair()
    async with near, far:
        await near.send_all(bytes(100_000))
        got = 0
        while got < 100_000:
            got += len(await far.receive_some())
        await far.send_all(b"all")
        await near.receive_some()
        facts = tcp.tcp_facts(near.socket)
        assert facts is not None
        assert 100_000 <= facts.acked_bytes <= 100_001
        assert facts.unsent_bytes == 0
        assert 0 < facts.rtt_min_s <= facts.rtt_s < 5
        assert facts.retransmits == 0


@linux
async def test_a_pace_is_kept_and_taken_back() -> None:
    near, far = await pair()
    async with near, far:
        tcp.pace(near.socket, 123_456.7)
        assert near.socket.getsockopt(socket.SOL_SOCKET, 47) == 123_456
        tcp.pace(near.socket, None)
        assert near.socket.getsockopt(socket.SOL_SOCKET, 47) & 0xFFFFFFFF == 0xFFFFFFFF


@linux
@pytest.mark.parametrize("least", [0.0, 0.4, 1.0, 300.0])
async def test_what_was_held_to_next_to_nothing_goes_on_once_it_may_go_faster(least: float) -> None:
    near, far = await pair()
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    async with near, far:
        for _ in range(20):  # the kernel does not pace the first packets of a connection
            await near.send_all(b"x" * 100)
            assert await far.receive_some(100)
        tcp.pace(near.socket, least)
        for _ in range(2):
            await near.send_all(b"y" * 3000)
        tcp.pace(near.socket, None)
        await near.send_all(b"z" * 3000)
        got = 0
        with trio.fail_after(30):
            while got < 9000:
                got += len(await far.receive_some(9000))


@linux
async def test_the_first_congestion_control_that_the_kernel_has_is_used() -> None:
    near, far = await pair()
    async with near, far:
        assert tcp.use_congestion_control(near.socket, ("nonesuch", "reno")) == "reno"
        assert tcp.use_congestion_control(near.socket, ("nonesuch",)) is None


async def test_packets_are_marked() -> None:
    near, far = await pair()
    async with near, far:
        tcp.mark(near.socket, tcp.DSCP_EF)
        assert near.socket.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) >> 2 == 46
