"""A few Rpc stacks on one MemoryNetwork: what tests of services above RPC start from."""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from p2p.host.memory.host import MemoryHost, memory_address
from p2p.host.memory.network import LinkModel, MemoryNetwork
from p2p.host.rpc.bounds import RpcConfig
from p2p.host.rpc.service import Rpc
from p2p.ids import LabId, PeerId
from testnet.sim.callers import LAB, machine_of

_MODEL, _CONFIG = LinkModel(), RpcConfig()


@dataclass(frozen=True, slots=True)
class Peers:
    """Named peers that know each other's addresses; connections open when first used."""

    network: MemoryNetwork
    hosts: dict[PeerId, MemoryHost]
    rpcs: dict[PeerId, Rpc]

    def __getitem__(self, name: str) -> Rpc:
        return self.rpcs[PeerId(name)]


@asynccontextmanager
async def rpc_peers(
    names: Sequence[str],
    model: LinkModel = _MODEL,
    *,
    seed: int = 0,
    config: RpcConfig = _CONFIG,
    make: Callable[[MemoryHost, RpcConfig], Rpc] = Rpc,
    of_lab: LabId = LAB,
) -> AsyncIterator[Peers]:
    """Run an Rpc for each name until the block ends."""
    network = MemoryNetwork(random.Random(seed), model)  # noqa: S311
    ids = [PeerId(name) for name in names]
    hosts = {peer: MemoryHost(network, peer, machine_of(peer, of_lab)) for peer in ids}
    rpcs = {peer: make(hosts[peer], config) for peer in ids}
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        for peer in ids:
            for other in ids:
                hosts[peer].learn(other, [memory_address(other)])
            await nursery.start(rpcs[peer].run)
            await nursery.start(hosts[peer].run)
        yield Peers(network, hosts, rpcs)
        nursery.cancel_scope.cancel()
