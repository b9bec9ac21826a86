"""What is kept of this machine in the pool and brought back from there, and what its lab can do."""

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Recovering:
    """Of a machine of a person; nothing of a machine without one, as in simulations."""

    own: RecoveryService | None = None
    """What it keeps of itself in the pool, and brings back from there."""
    by_lab: LabRecovery | None = None
    """Whether the lab's key brings this person back, and whom it brought back."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What of a node is saved and brought back, and with whom."""

    edges: Edges
    identity: Identity
    peers: Peers
    storage: StorageService
    market: MarketService
    estate: EstateService

    def recovering(self, config: Config) -> Recovering:
        """The services for that."""
        vault = self.edges.vault
        if vault is None:
            return Recovering()
        own = self._with_key(vault) if vault.seed else self._without_key(vault)
        return Recovering(own, self._by_lab(vault, config.node.lab_recovery))

    def _without_key(self, vault: Vault) -> RecoveryService:
        """The person's key is on another machine of theirs: this one has a name of its own."""
        names, me, siblings = self.storage.names, self.edges.host.peer_id, self._siblings()
        owned = (names.machine(), names.of(vault.person))
        apart = NameOfItsOwn(*owned, me, vault.seal, siblings.token)
        estate = self.estate
        waits, logs, leave = self.peers.waits_for_others, estate.logs, estate.leave
        return RecoveryService(self._things(vault), apart, waits, logs, leave)

    def _with_key(self, vault: Vault) -> RecoveryService:
        edges, peers, storage, estate = self.edges, self.peers, self.storage, self.estate
        me, things, siblings = edges.host.peer_id, self._things(vault), self._siblings()
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

    def _siblings(self) -> Siblings:
        me, peers = self.edges.host.peer_id, self.peers
        return Siblings(
            me, self.identity.person, peers.membership, peers.register, self.edges.proofs
        )

    def _things(self, vault: Vault) -> Things:
        edges, objects, market = self.edges, self.storage.objects, self.market
        return Things(
            vault,
            objects,
            objects.keyring,
            market.buyer,
            market.own_machines,
            edges.state,
            edges.host.peer_id,
            edges.wall_ms,
        )

    def _by_lab(self, vault: Vault, wanted: str) -> LabRecovery:
        edges, names, lab = self.edges, self.storage.names, self.identity.lab
        has_key = bool(vault.seed)
        return LabRecovery(
            lab,
            names.of(lab),
            wanted,
            self.peers.waits_for_others,
            edges.entropy,
            edges.wall_ms,
            persons=names.person(edges.signer.from_seed(vault.seed)) if has_key else None,
            seed=vault.seed,
        )
