"""Over which machines a put is spread, and whether enough of them took what they were given."""

from collections.abc import Sequence

from p2p.ids import LabId, PeerId
from storage.errors import StoreFullError, TooFewPeersError
from storage.facade import Durability
from storage.ids import LeaseId
from storage.limits import CANDIDATES_MAX, RUN_SEGMENTS
from storage.placement.pool import Pool
from storage.placement.rendezvous import Candidate, Plan, plan_for, quorum_of, rendezvous, shortlist
from storage.transfer.push import PushOutcomes

TOO_FEW_REMEDY = "wait for more machines, or put with durability `local`"


class PutSpread:
    """Of one put: chosen with its first segment, and wiser with each that was pushed."""

    def __init__(self, pool: Pool, lab: LabId, lease: LeaseId, durability: Durability) -> None:
        self._pool, self._lab, self._lease, self._durability = pool, lab, lease, durability
        self.plan = Plan(1, 1, 1, 1)
        """Chosen when the first segment is there."""
        self._candidates: list[Candidate] = []
        """Machines for shards, in the order of the lease; chosen with the plan."""
        self.log = PushOutcomes()
        """What the next segments should know of machines."""

    @property
    def is_local(self) -> bool:
        """Whether it stays on this machine."""
        return self._durability is Durability.LOCAL

    @property
    def only(self) -> Sequence[PeerId] | None:
        """Who alone keeps the manifest; None: all who belong to it."""
        return (self._pool.me,) if self.is_local else None

    @property
    def ack(self) -> int:
        """Receipts of one segment that are enough to go on."""
        return quorum_of(self.plan) if self._durability is Durability.QUORUM else self.plan.ack

    def choose(self, *, is_small: bool) -> None:
        """Choose the code and the machines. Raises TooFewPeersError for an empty pool."""
        usable = list(self._pool.usable())
        if self.is_local:
            self._candidates = [self._ourselves(usable)]
            return
        if not usable:
            raise TooFewPeersError(0, 1, f"no machine lends storage: {TOO_FEW_REMEDY}")
        self.plan = plan_for(len(usable), small=is_small)
        self._candidates = shortlist(rendezvous(self._lease, usable), CANDIDATES_MAX)

    def _ourselves(self, usable: Sequence[Candidate]) -> Candidate:
        """What stays here needs no room that is lent."""
        me = self._pool.candidate(self._pool.me)
        free_bytes = next((c.free_bytes for c in usable if c.peer == self._pool.me), 1 << 62)
        lab, site = (self._lab, "") if me is None else (me.lab, me.site)
        return Candidate(self._pool.me, lab, site, 1, free_bytes)

    def ranked(self, index: int) -> list[Candidate]:
        """The machines for a segment, the best first: each run of segments has its own order."""
        run = index // RUN_SEGMENTS
        return rendezvous(self._lease + run.to_bytes(8), self._candidates)

    def check(self, stored: int, shard_bytes: int) -> None:
        """Raise TooFewPeersError or StoreFullError unless enough receipts came for a segment."""
        need = self._needed()
        if stored >= need:
            return
        full = self._full(shard_bytes)
        if stored + full >= need:
            raise StoreFullError(
                f"{full} of {len(self._candidates)} machines have no room for this object: "
                "free space there, raise their quota, or add machines"
            )
        raise TooFewPeersError(stored, need, TOO_FEW_REMEDY)

    def _needed(self) -> int:
        """Receipts without which a put fails.

        Copies may become fewer as machines are found dead, as they would had we known before; but
        one copy alone is never what was asked for where there was a second machine.
        """
        need = self.ack
        gone = sum(code != "full" for code in self.log.failed.values())
        left = len(self._candidates) - gone
        if self.plan.k == 1 and left > 0:
            return max(min(2, need), min(need, plan_for(left).ack))
        return need

    def _full(self, shard_bytes: int) -> int:
        """Machines that have no room for a shard."""
        return sum(
            c.free_bytes < shard_bytes or self.log.failed.get(c.peer) == "full"
            for c in self._candidates
        )
