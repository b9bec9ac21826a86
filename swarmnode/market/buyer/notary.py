"""Signs what this buyer gives to others: awards, grants, claims, receipts, and rights with them."""

from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from p2p.errors import WireError
from p2p.ids import NetworkId, PeerId
from p2p.wire.envelope import Signed, Signer, open_signed, seal
from storage.limits import RIGHT_LINKS_MAX
from storage.records.names.rights import grant_names
from storage.rights import Right, extended
from swarmnode.market.guardians.messages import (
    CLAIM_DOMAIN,
    HOME_DOMAIN,
    Claim,
    ClaimTerms,
    ComeHome,
    HomeTerms,
)
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.market.messages import AWARD_DOMAIN, Award, AwardTerms
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.keys import state_key_of
from swarmnode.tasks.messages import (
    RECEIPT_DOMAIN,
    RESULT_DOMAIN,
    ReceiptTerms,
    ResultReceipt,
    ResultTerms,
)
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec import TaskSpec

_AWARD_VALID_MS: Final = 600_000
"""Far longer than an award is repeated: clocks may be minutes apart."""
_RECEIPT_VALID_MS: Final = 30 * 86_400_000
"""A receipt is also what a provider can show later."""

RightOf: TypeAlias = Callable[[TaskId, PeerId, int], Right | None]
"""(task, provider, until when) -> the right to put what the task leaves in our name."""

RIGHT_SPARE_MS: Final = 7 * 86_400_000
"""A right outlives its attempt by a week: its results may wait for their submitter."""


def no_right(task: TaskId, provider: PeerId, expires_ms: int) -> Right | None:
    """Outputs are the provider's: for tests of the market alone."""
    return None


class Notary:
    """With this machine's key, and with the keys of its tasks."""

    def __init__(
        self, signer: Signer, network: NetworkId, wall_ms: Callable[[], int], right_of: RightOf
    ) -> None:
        """`wall_ms` is for expiry; `right_of` gives rights to put in our name."""
        self._signer, self._network = signer, network
        self._wall_ms, self._right_of = wall_ms, right_of

    @property
    def me(self) -> PeerId:
        """This machine."""
        return self._signer.peer_id

    def award(self, terms: AwardTerms, guard: GuardRecord | None) -> Award:
        """With the right to put what the task leaves in its owner's name.

        `guard` is what we have of a task for which we act while its submitter is away; None: it is
        ours.
        """
        if guard is None:
            right = self._own_right(terms.task, terms.spec, terms.seller)
        else:
            right = self.hand_on(guard, terms.seller)
        terms = msgspec.structs.replace(terms, right=right)
        expires_ms = self._wall_ms() + _AWARD_VALID_MS
        return Award(self._seal(AWARD_DOMAIN, terms, terms.fence, expires_ms))

    def _own_right(self, task: TaskId, spec: TaskSpec, peer: PeerId) -> Right | None:
        until_ms = self._wall_ms() + spec.timeout_ms + RIGHT_SPARE_MS
        return self._right_of(task, peer, until_ms)

    def hand_on(self, guard: GuardRecord, peer: PeerId) -> Right | None:
        """The right of a keeper, or of a worker of one, to put in the name of a task's owner."""
        if guard.submitter == self.me:
            return self._own_right(guard.task, guard.task_record.spec, peer)
        mine = guard.right_of(self.me)
        if mine is None or len(mine.links) >= RIGHT_LINKS_MAX:
            return None
        try:
            return extended(mine, self._signer, self._network, peer)
        except WireError:  # who made the record knew no better: the next one has none
            return None

    def grant(self, record: TaskRecord, winner: PeerId, fence: int) -> tuple[Signed | None, bytes]:
        """By the task's key: what lets a provider write the task's names; and read their values.

        Nothing for a task of a version that knew no such key.
        """
        if not record.key:
            return None, b""
        key = self._signer.from_seed(record.key)
        grant = grant_names(key, self._network, winner, fence, self._wall_ms())
        return grant, state_key_of(record.key)

    def claim(self, record: TaskRecord, term: int) -> Claim:
        """Sealed by the task's key: its attempt is ours to renew from here on."""
        key = self._signer.from_seed(record.key)
        terms = ClaimTerms(record.task, record.fence, self.me, term)
        expires_ms = self._wall_ms() + _RECEIPT_VALID_MS
        sealed = seal(key, self._network, CLAIM_DOMAIN, terms, sequence=term, expires_ms=expires_ms)
        return Claim(sealed)

    def home(self, record: TaskRecord) -> ComeHome:
        """Sealed by the task's key: its owner is at this machine now."""
        key, expires_ms = self._signer.from_seed(record.key), self._wall_ms() + _AWARD_VALID_MS
        terms = HomeTerms(record.task, self.me)
        return ComeHome(
            seal(key, self._network, HOME_DOMAIN, terms, sequence=0, expires_ms=expires_ms)
        )

    def receipt(self, terms: ReceiptTerms) -> ResultReceipt:
        """Sealed."""
        expires_ms = self._wall_ms() + _RECEIPT_VALID_MS
        return ResultReceipt(self._seal(RECEIPT_DOMAIN, terms, terms.fence, expires_ms))

    def open_result(self, sealed: Signed) -> ResultTerms:
        """Verified. Raises WireError."""
        return open_signed(self._signer, self._network, RESULT_DOMAIN, ResultTerms, sealed)

    def _seal(
        self, domain: str, terms: AwardTerms | ReceiptTerms, fence: int, expires_ms: int
    ) -> Signed:
        return seal(
            self._signer, self._network, domain, terms, sequence=fence, expires_ms=expires_ms
        )
