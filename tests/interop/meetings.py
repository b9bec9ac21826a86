"""What a foreign peer and a node do with one another, the same for every maker's peer."""

from collections.abc import Sequence

import trio

from p2p.host.addresses import parse_address
from p2p.host.libp2p.dialer import Dialer
from p2p.host.libp2p.swarm import build
from p2p.host.peers.framing import check_answer
from p2p.ids import PeerId
from p2p.link.agreement import opening
from p2p.link.config import LinkConfig
from tests.interop.foreign_peer import ForeignPeer, running
from tests.interop.open_node import Served, node

PING = "/ipfs/ping/1.0.0"
EIGHT_MIB = 8 * 1024 * 1024


async def identify_and_ping(peer: ForeignPeer, served: Served) -> None:
    about = await peer.do("connect", address=served.address)
    assert {"/ipfs/id/1.0.0", PING} <= set(about["protocols"])
    assert (await peer.do("ping", address=served.address))["ms"] < 5000


async def meet(command: Sequence[str]) -> None:
    """Everything an open network offers to a guest."""
    with trio.fail_after(50):
        async with node() as served, running([*command, *served.names]) as peer:
            await identify_and_ping(peer, served)
            await echo(peer)
            await gossip(peer, served)
            await use_the_index(peer, served)
            frames = f"/swarm/{served.network}/frames/1"
            assert not (await peer.do("opens", protocol=frames))["opened"]
            assert served.host.peers() == (), "a guest is no member"
            assert len(served.host.conns.gate.guests) == 1
            assert served.interop is not None
            assert served.interop.faults == 0


async def be_dialled(command: Sequence[str]) -> None:
    """Our dialler agrees on Noise and Yamux ahead, with a peer that does not expect it."""
    _, swarm = build(b"a node that dials".ljust(32, b"."), LinkConfig(), list)
    with trio.fail_after(40):
        async with running([*command, "/kad/1", "lobby", "/echo/1"]) as peer:
            where = parse_address((await peer.do("addresses"))["addresses"][0])
            assert where.peer is not None
            muxed, _ = await Dialer(swarm.upgrader).connect(where.peer, (where,))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(muxed.start)
                stream = muxed.link.open_stream()
                await stream.write(opening(PING) + bytes(range(32)))
                await check_answer(stream, PING)
                assert await stream.read() == bytes(range(32))
                muxed.link.close("that was all")


async def echo(peer: ForeignPeer) -> None:
    for size, idle_ms in ((100, 0), (EIGHT_MIB, 300)):
        said = await peer.do("echo", size=size, idle_ms=idle_ms)
        assert (said["bytes"], said["equal"]) == (size, True)
    assert said.get("waits", 1) > 0, "the node reads no faster than it can send back"


async def gossip(peer: ForeignPeer, served: Served) -> None:
    assert served.interop is not None
    await peer.do("listeners", least=1)
    await served.interop.listens(PeerId(peer.peer), 10)
    await served.interop.say(b"good day")
    assert await peer.do("hear") == {"ok": True, "from": served.host.peer_id, "text": "good day"}
    await peer.do("say", text="good evening")
    assert await served.interop.heard.receive() == (peer.peer, b"good evening")


async def use_the_index(peer: ForeignPeer, served: Served) -> None:
    await peer.do("knows", least=1)
    await served.index.announce(b"ours")
    found = (await peer.do("find", key="ours"))["providers"]
    where = served.address.partition("/p2p/")[0]
    assert [one.partition("/p2p/")[0] for one in found[served.host.peer_id]] == [where]
    assert (await peer.do("provide", key="theirs"))["errors"] == []
    found_there = await served.index.find(b"theirs", 5)
    while not found_there:  # nobody answers an announcement
        await trio.sleep(0.02)
        found_there = await served.index.find(b"theirs", 5)
    assert [who for who, _ in found_there] == [peer.peer]
    assert all(addresses for _, addresses in found_there)
    assert (await peer.do("find", key="nobody's"))["providers"] == {}


async def be_refused(command: Sequence[str], *, is_open: bool) -> None:
    """Without interop a foreign peer may identify and ping, on whatever network."""
    with trio.fail_after(40):
        async with (
            node(is_open=is_open, interop=False) as served,
            running([*command, *served.names]) as peer,
        ):
            await identify_and_ping(peer, served)
            kad, _, echoes = served.names
            for protocol in (echoes, "/meshsub/1.2.0", "/meshsub/1.1.0", "/nonsense/1"):
                assert not (await peer.do("opens", protocol=protocol))["opened"]
            await peer.do("ping", address=served.address)
            # The index waits for the admission that never comes; then the connection ends.
            for protocol in (kad, f"/swarm/{served.network}/frames/1"):
                assert not (await peer.do("opens", protocol=protocol))["opened"]
            assert served.host.peers() == ()
            assert len(served.host.conns.gate.guests) == 0


async def heard(speaker: ForeignPeer, listener: ForeignPeer, text: str) -> None:
    """One peer says something in the lobby and another hears it, through a node."""
    await speaker.do("say", text=text)
    assert await listener.do("hear") == {"ok": True, "from": speaker.peer, "text": text}
