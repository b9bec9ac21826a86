"""Who is there, and how they are spoken to: everything of p2p that a node runs."""

from collections.abc import Sequence

from p2p.discovery.service import DiscoveryService
from p2p.gossip.service import GossipService
from p2p.host.rpc.echo import Echo
from p2p.host.rpc.service import Rpc
from p2p.membership.ourselves import Ourselves, Profile
from p2p.membership.service import MembershipService
from p2p.mesh import Mesh
from p2p.register.service import RegisterService
from p2p.renewal.service import RenewalService
from swarmnode import settings
from swarmnode.edges import Edges, Identity
from swarmnode.home.config import Config
from swarmnode.home.peer_cache import TablePeerCache
from swarmnode.home.register_store import TableEntryStore


class Peers:
    """The others, as this machine knows and reaches them."""

    def __init__(
        self, config: Config, edges: Edges, identity: Identity, seeds: Sequence[str]
    ) -> None:
        """`seeds` are full multiaddrs to call first, besides those of the config."""
        self._is_alone = config.network.alone
        """Its owner wants it to work without any others."""
        self.rpc = Rpc(edges.host)
        self.echo = Echo(self.rpc)
        self.membership = _membership(config, edges, identity, self.rpc)
        self.gossip = _gossip(config, edges, self.rpc, self.membership)
        self.mesh = Mesh(
            rpc=self.rpc,
            members=self.membership,
            gossip=self.gossip,
            signer=edges.signer,
            network=edges.network,
            rng=edges.rng,
            entropy=edges.entropy,
            wall_ms=edges.wall_ms,
            proofs=edges.proofs,
        )
        """What every service above p2p is given."""
        self.register = _register(edges, self.rpc)
        self.renewal = _renewal(edges, self.rpc)
        """None where machines have no certificates: in simulations."""
        self.discovery = DiscoveryService(
            edges.host,
            edges.index,
            self.membership,
            TablePeerCache(edges.state),
            edges.network,
            (*seeds, *config.network.bootstrap),
        )

    def waits_for_others(self) -> bool:
        """Whether there should be others, and none has answered yet."""
        if self._is_alone or not self.discovery.expects_others:
            return False
        view = self.membership.view()
        return not any(member.peer != view.me for member in view.alive())


def _membership(config: Config, edges: Edges, who: Identity, rpc: Rpc) -> MembershipService:
    profile = Profile(who.name, who.lab, who.site, config.network.relay)
    return MembershipService(
        settings.membership(config),
        rpc,
        Ourselves(edges.signer, edges.network, profile, edges.proofs),
        addresses=edges.host.addresses,
        rng=edges.rng,
        incarnation=edges.wall_ms(),
    )


def _gossip(config: Config, edges: Edges, rpc: Rpc, members: MembershipService) -> GossipService:
    return GossipService(
        settings.gossip(config),
        rpc,
        members,
        edges.signer,
        edges.network,
        rng=edges.rng,
        wall_ms=edges.wall_ms,
    )


def _register(edges: Edges, rpc: Rpc) -> RegisterService:
    return RegisterService(
        edges.book,
        rpc,
        edges.host,
        TableEntryStore(edges.state),
        rng=edges.rng,
        wall_ms=edges.wall_ms,
    )


def _renewal(edges: Edges, rpc: Rpc) -> RenewalService | None:
    if edges.papers is None:
        return None
    return RenewalService(
        edges.papers,
        edges.book,
        rpc,
        edges.host,
        edges.signer,
        wall_ms=edges.wall_ms,
        entropy=edges.entropy,
    )
