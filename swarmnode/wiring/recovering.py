"""What is kept of this machine in the pool and brought back from there, and what its lab can do."""

import msgspec

from storage.service import StorageService
from swarmnode.edges import Edges, Identity, Vault
from swarmnode.estate.service import EstateService
from swarmnode.home.config import Config
from swarmnode.market.service import MarketService
from swarmnode.recovery.copies.place import LineOfList, NameOfItsOwn
from swarmnode.recovery.copies.shelf import CopyShelf
from swarmnode.recovery.finding import Finder
from swarmnode.recovery.lab import LabRecovery
from swarmnode.recovery.others import Others
from swarmnode.recovery.retrieval import Retrieval
from swarmnode.recovery.service import RecoveryService
from swarmnode.recovery.siblings import Siblings
from swarmnode.recovery.things import Things
from swarmnode.wiring.peers import Peers


class Recovering(msgspec.Struct, frozen=True):
    """Of a machine of a person; nothing of a machine without one, as in simulations."""

    own: RecoveryService | None = None
    """What it keeps of itself in the pool, and brings back from there."""
    by_lab: LabRecovery | None = None
    """Whether the lab's key brings this person back, and whom it brought back."""


def recovering(
    config: Config,
    edges: Edges,
    identity: Identity,
    peers: Peers,
    storage: StorageService,
    market: MarketService,
    estate: EstateService,
) -> Recovering:
    """The services by which a node is saved and brought back."""
    vault = edges.vault
    if vault is None:
        return Recovering()
    me = edges.host.peer_id
    siblings = Siblings(me, identity.person, peers.membership, peers.register, edges.proofs)
    things = _things(edges, vault, storage, market)
    join = _with_key if vault.seed else _without_key
    own = join(edges, vault, peers, storage, estate, things, siblings)
    wanted = config.node.lab_recovery
    return Recovering(own, _by_lab(edges, vault, identity, peers, storage, wanted))


def _things(edges: Edges, vault: Vault, storage: StorageService, market: MarketService) -> Things:
    return Things(
        vault=vault,
        objects=storage.objects,
        keyring=storage.objects.keyring,
        tasks=market.buyer,
        own_machines=market.own_machines,
        tables=edges.state,
        me=edges.host.peer_id,
        wall_ms=edges.wall_ms,
    )


def _without_key(
    edges: Edges,
    vault: Vault,
    peers: Peers,
    storage: StorageService,
    estate: EstateService,
    things: Things,
    siblings: Siblings,
) -> RecoveryService:
    """The person's key is on another machine of theirs: this one has a name of its own."""
    apart = NameOfItsOwn(
        own=storage.names.machine(),
        persons=storage.names.of(vault.person),
        me=edges.host.peer_id,
        seal=vault.seal,
        token=siblings.token,
    )
    return RecoveryService(things, apart, peers.waits_for_others, estate.logs, estate.leave)


def _with_key(
    edges: Edges,
    vault: Vault,
    peers: Peers,
    storage: StorageService,
    estate: EstateService,
    things: Things,
    siblings: Siblings,
) -> RecoveryService:
    me = edges.host.peer_id
    persons = storage.names.person(edges.signer.from_seed(vault.seed))
    shelf = CopyShelf(persons, vault.seed, edges.entropy)
    others = Others(peers.membership, peers.echo.ping, storage.arrival.is_settled)
    finder = Finder(shelf, storage.names.of, vault.unseal, siblings, others.life, me)
    adopt = None if peers.renewal is None else peers.renewal.adopt
    return RecoveryService(
        things,
        LineOfList(shelf, me, siblings.seen),
        peers.waits_for_others,
        estate.logs,
        estate.leave,
        finder=finder,
        retrieval=Retrieval(things, shelf, finder, persons, siblings.known_as, adopt),
    )


def _by_lab(
    edges: Edges,
    vault: Vault,
    identity: Identity,
    peers: Peers,
    storage: StorageService,
    wanted: str,
) -> LabRecovery:
    """Asked for or not by the word `wanted` of the configuration."""
    names, lab = storage.names, identity.lab
    return LabRecovery(
        lab=lab,
        labs=names.of(lab),
        wish=wanted,
        waits_for_others=peers.waits_for_others,
        entropy=edges.entropy,
        wall_ms=edges.wall_ms,
        persons=names.person(edges.signer.from_seed(vault.seed)) if vault.seed else None,
        seed=vault.seed,
    )
