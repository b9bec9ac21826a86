"""The inner names of libp2p that we replace or read: each test fails when one of them moves."""

import inspect
import logging
import subprocess
import sys

import pytest
import trio

import p2p.host.libp2p
from p2p.host.libp2p.bridge import MuxedLink, Muxer, Noise, SecureLink, Security
from p2p.host.libp2p.index import KAD_MODULES, PROTOCOL
from p2p.host.libp2p.lean_imports import HOLLOW
from p2p.host.libp2p.swarm import QuietHost, QuietSwarm, build
from p2p.link.config import LinkConfig

from libp2p.abc import ISecureConn  # isort: skip
from libp2p.crypto.ed25519 import create_new_key_pair as ed25519_key_pair  # isort: skip
from libp2p.crypto.x25519 import create_new_key_pair as x25519_key_pair  # isort: skip
from libp2p.host.basic_host import BasicHost  # isort: skip
from libp2p.io.trio import TrioTCPStream  # isort: skip
from libp2p.kad_dht.provider_store import ProviderStore  # isort: skip
from libp2p.network.connection import swarm_connection  # isort: skip
from libp2p.network.connection.raw_connection import RawConnection  # isort: skip
from libp2p.network.swarm import Swarm  # isort: skip
from libp2p.peer.id import ID  # isort: skip
from libp2p.security.noise.transport import Transport  # isort: skip
from libp2p.security.secure_session import SecureSession  # isort: skip
from libp2p.security.security_multistream import SecurityMultistream  # isort: skip
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream  # isort: skip

assert p2p.host.libp2p, "imported first: it keeps what we never use out of libp2p"


@pytest.mark.parametrize(
    ("stock", "ours", "names"),
    [
        (Swarm, QuietSwarm, ["set_stream_handler", "dial_peer", "_schedule_auto_connect"]),
        (BasicHost, QuietHost, ["_schedule_identify", "new_stream"]),
        (Transport, Noise, ["secure_inbound", "secure_outbound"]),
        (MuxerMultistream, Muxer, ["new_conn"]),
        (SecurityMultistream, Security, ["select_transport_and_protocol"]),
    ],
)
def test_what_we_override_is_there_and_takes_the_same(
    stock: type, ours: type, names: list[str]
) -> None:
    for name in names:
        theirs, mine = getattr(stock, name), getattr(ours, name)
        assert mine is not theirs
        assert list(inspect.signature(mine).parameters) == list(
            inspect.signature(theirs).parameters
        )


@pytest.mark.parametrize("name", ["_selector", "_annotate_connection", "negotiate_timeout"])
def test_the_muxer_has_what_ours_uses(name: str) -> None:
    assert name in inspect.getsource(MuxerMultistream)


async def test_the_keys_and_counters_we_take_from_a_handshake_are_those_of_the_session() -> None:
    """A stock session at the other end reads what ours writes, and the other way round."""
    keys = [ed25519_key_pair(name.ljust(32, b".")) for name in (b"alice", b"bob")]
    noise = [x25519_key_pair().private_key for _ in keys]
    ours, stock = Noise(keys[0], noise[0]), Transport(keys[1], noise[1])
    near, far = trio.socket.socketpair()
    raws = [
        RawConnection(TrioTCPStream(trio.SocketStream(end)), at == 0)
        for at, end in enumerate((near, far))
    ]
    sessions: dict[str, ISecureConn] = {}

    async def answer() -> None:
        sessions["stock"] = await stock.secure_inbound(raws[1])

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            sessions["ours"] = await ours.secure_outbound(
                raws[0], ID.from_pubkey(keys[1].public_key)
            )
        assert isinstance(sessions["ours"], SecureLink)
        assert isinstance(sessions["stock"], SecureSession)
        for writer, reader in (("ours", "stock"), ("stock", "ours"), ("ours", "stock")):
            await sessions[writer].write(b"hello")
            assert await sessions[reader].read(5) == b"hello"
    for session in sessions.values():
        await session.close()


def test_the_swarm_calls_the_handler_and_the_muxer_we_put_there() -> None:
    host, swarm = build(b"alice".ljust(32, b"."), LinkConfig(), list)
    assert host.get_network() is swarm
    assert isinstance(swarm.upgrader.muxer_multistream, Muxer)
    assert "common_stream_handler(net_stream)" in inspect.getsource(swarm_connection.SwarmConn)
    assert isinstance(swarm.upgrader.security_multistream, Security)
    assert "self.muxer_multistream.new_conn" in inspect.getsource(type(swarm.upgrader))
    assert "self.select_transport_and_protocol(conn, True)" in inspect.getsource(
        SecurityMultistream.secure_outbound
    )
    assert not inspect.isabstract(MuxedLink)


def test_the_listeners_we_silence_are_the_two_we_do_not_need() -> None:
    _, ours = build(b"alice".ljust(32, b"."), LinkConfig(), list)
    assert ours.notifees == []
    stock = Swarm(ours.get_peer_id(), ours.peerstore, ours.upgrader, [])
    BasicHost(stock)
    names = {type(one).__name__ for one in stock.notifees}
    assert names == {"TagStoreNotifee", "_IdentifyNotifee"}


def test_only_noise_is_offered() -> None:
    _, swarm = build(b"alice".ljust(32, b"."), LinkConfig(), list)
    assert [str(name) for name in swarm.upgrader.security_multistream.transports] == ["/noise"]


def test_the_index_reads_what_is_there() -> None:
    ask = inspect.signature(ProviderStore._get_providers_from_peer_with_closers)
    assert list(ask.parameters) == ["self", "peer_id", "key"]
    for module in KAD_MODULES:
        assert module.PROTOCOL_ID == PROTOCOL


def test_libp2p_writes_nothing_to_the_log_of_the_process() -> None:
    logger = logging.getLogger("libp2p.network.swarm")
    assert not logger.isEnabledFor(logging.ERROR)
    assert not logging.getLogger("libp2p").propagate


def test_importing_the_host_leaves_out_what_it_never_uses() -> None:
    script = (
        "import sys, p2p.host.libp2p.host, p2p.host.libp2p.index\nprint(' '.join(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {name for name in HOLLOW if "." not in name and name != "libp2p"}
    assert "libp2p.pubsub.gossipsub" not in done.stdout.split()
    assert done.stderr == ""


def test_other_code_of_the_process_still_gets_the_real_packages() -> None:
    script = "import p2p.host.libp2p.host, requests, httpx\nprint(requests.__version__)\n"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    assert done.stdout.strip()
