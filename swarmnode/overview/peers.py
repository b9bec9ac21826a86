"""How others are connected to this machine, and what it carries between them."""

from p2p.host.port import Host
from swarmnode.api.schema.node import PeersStatus


def peers_status(host: Host, *, carries: bool) -> PeersStatus:
    """As it is now."""
    carried, peers = host.carried(), host.peers()
    by_relay = sum(host.relay_of(peer) is not None for peer in peers)
    return PeersStatus(
        direct=len(peers) - by_relay,
        by_relay=by_relay,
        carries=carries,
        circuits=carried.circuits,
        carried_bytes=carried.bytes_total,
    )


def carried_counters(host: Host) -> dict[str, int]:
    """What passed here between others, since the start."""
    carried = host.carried()
    return {
        "relay_circuits": carried.circuits_total,
        "relay_bytes": carried.bytes_total,
        "relay_refused": carried.refused_total,
    }
