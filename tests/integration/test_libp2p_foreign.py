"""A stock libp2p node: it may identify and ping us, and nothing else before it is admitted."""

import json
import subprocess
import sys
from pathlib import Path

import trio

from p2p.host.admission.exchange import OpenNetworkAdmission
from p2p.host.libp2p.host import Libp2pHost
from p2p.host.libp2p.index import Libp2pIndex
from p2p.host.rpc.service import Rpc
from p2p.identity.admission import Anchor
from p2p.identity.keys import KeySigner, network_id_of

SCRIPT = Path(__file__).with_name("foreign.py")


async def test_a_stock_node_may_identify_and_ping_and_ask_to_be_admitted() -> None:
    signer = KeySigner.from_seed(b"alice".ljust(32, b"."))
    anchor = Anchor(network_id_of(signer.peer_id), signer.peer_id)
    admission = OpenNetworkAdmission(signer, anchor, lambda: 1_800_000_000_000, name="alice")
    listen = ["/ip4/127.0.0.1/tcp/0"]
    host = Libp2pHost(signer.seed(), anchor.network, listen, admission)
    rpc, index = Rpc(host), Libp2pIndex(host)
    admit, frames = f"/swarm/{anchor.network}/admit/1", f"/swarm/{anchor.network}/frames/1"
    asks = [admit, "/nonsense/1", frames, "/swarm/kad/1.0.0", "/ipfs/id/push/1.0.0"]
    with trio.fail_after(40):
        async with trio.open_nursery() as nursery:
            for part in (rpc, host, index):
                await nursery.start(part.run)
            command = [sys.executable, str(SCRIPT), host.addresses()[0], *asks]
            done = await trio.run_process(command, capture_stdout=True, stderr=subprocess.DEVNULL)
            assert host.peers() == ()
            nursery.cancel_scope.cancel()
    said = json.loads(done.stdout)
    assert said["pings"] == 3
    assert said["addresses"] == 1
    assert {"/ipfs/ping/1.0.0", "/ipfs/id/1.0.0"} <= set(said["protocols"])
    assert said["opened"] == [admit]
