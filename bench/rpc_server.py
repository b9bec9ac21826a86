"""The other end of the RPC bench: a host of its own process that echoes until it is terminated."""

import os
import signal

import trio

from p2p.host.admission.port import OpenAdmission
from p2p.host.libp2p.host import Libp2pHost
from p2p.host.rpc.echo import Echo
from p2p.host.rpc.service import Rpc
from p2p.ids import NetworkId

NETWORK = NetworkId("bench")


async def main() -> None:
    """Print our address, then serve."""
    host = Libp2pHost(os.urandom(32), NETWORK, ["/ip4/127.0.0.1/tcp/0"], OpenAdmission())
    rpc = Rpc(host)
    Echo(rpc)
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(rpc.run)
            await nursery.start(host.run)
            print(host.addresses()[0], flush=True)
            async for _ in signals:
                nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
