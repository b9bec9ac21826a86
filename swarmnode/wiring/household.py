"""The people of this machine, and what rests sealed for each."""

from functools import partial

from storage.objects.keyring import Keyring
from swarmnode.edges import Edges
from swarmnode.estate.kept_logs import KeptLogs
from swarmnode.market.buyer.service import BuyerService
from swarmnode.people.book import People
from swarmnode.people.sealed_tasks import at_rest
from swarmnode.people.seals import Seals
from swarmnode.people.secrets import SecretStore
from swarmnode.people.unlocking import Unlocking


class Household:
    """From here on what is of other people of this machine rests sealed."""

    def __init__(self, edges: Edges, keyring: Keyring, buyer: BuyerService, logs: KeptLogs) -> None:
        self.people = People(edges.state, edges.wall_ms)
        self.seals = Seals(self.people, edges.entropy)
        """Keys of those who have unlocked theirs."""
        keyring.rest_by(self.seals.seal_key)
        buyer.rest_as(partial(at_rest, self.seals))
        logs.open_by(self.seals.open_cap)
        self.secrets = SecretStore(edges.state, self.seals, edges.signer, edges.wall_ms)
        self.unlocking = Unlocking(self.people, self.seals, keyring, edges.state)
