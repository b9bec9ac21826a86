"""The nodes that foreign peers meet: a host with its index, and what interop adds to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from p2p.host.admission.exchange import OpenNetworkAdmission, TokenAdmission
from p2p.host.libp2p.host import HostConfig, Libp2pHost
from p2p.host.libp2p.index import PROTOCOL, Libp2pIndex
from p2p.host.libp2p.interop import Interop
from p2p.host.rpc.service import Rpc
from p2p.identity.admission import Anchor
from p2p.identity.issue import Keys, Names, found
from p2p.identity.keys import KeySigner, network_id_of

NOW = 1_800_000_000_000
LISTEN = ["/ip4/127.0.0.1/tcp/0"]


@dataclass
class Served:
    """One node as far as foreigners can see it."""

    host: Libp2pHost
    index: Libp2pIndex
    interop: Interop | None
    network: str

    @property
    def address(self) -> str:
        return self.host.addresses()[0]

    @property
    def names(self) -> list[str]:
        """What a foreign peer must know of the network: index, topic and echo."""
        return [
            PROTOCOL,
            f"/swarm/{self.network}/lobby/1",
            f"/swarm/{self.network}/echo/1",
        ]


def key(name: str) -> KeySigner:
    return KeySigner.from_seed(name.encode().ljust(32, b"."))


@asynccontextmanager
async def node(
    name: str = "alice", *, is_open: bool = True, interop: bool = True
) -> AsyncIterator[Served]:
    """A node of an open network that serves guests, or not, or of a private network."""
    signer, root = key(name), key("network")
    anchor = Anchor(network_id_of(root.peer_id), root.peer_id, is_open)
    admission: TokenAdmission
    if is_open:
        admission = OpenNetworkAdmission(signer, anchor, lambda: NOW, name=name)
    else:
        keys = Keys(signer, key("ann"), key("physics"), root)
        token = found(anchor, keys, Names(name, "ann", "physics"), NOW)
        admission = TokenAdmission(signer, token, anchor, lambda: NOW)
    host = Libp2pHost(
        signer.seed(), anchor.network, LISTEN, admission, HostConfig(admit_within_s=2.0)
    )
    served = Served(
        host,
        Libp2pIndex(host),
        Interop(host, anchor.network, restart_after_s=0.1) if interop else None,
        anchor.network,
    )
    async with trio.open_nursery() as nursery:
        for part in (Rpc(host).run, host.run, served.index.run):
            await nursery.start(part)
        yield served
        nursery.cancel_scope.cancel()
