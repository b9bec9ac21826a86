"""What this machine signs about names: ballots that nobody else uses, and records."""

from collections.abc import Callable

from p2p.effects import Rng
from p2p.ids import NetworkId
from p2p.wire.envelope import Signed, Signer, seal
from storage.limits import NAME_GRANTED_KEPT_MS, NAME_KEPT_MS
from storage.records.names.messages import (
    BALLOT_DOMAIN,
    NAME_DOMAIN,
    Ballot,
    BallotClaim,
    NameRecord,
)
from storage.records.names.rights import NameRight


class NamePen:
    """Signs by the key of a right; ballots are numbered by this machine."""

    def __init__(
        self, me: Signer, network: NetworkId, wall_ms: Callable[[], int], rng: Rng
    ) -> None:
        self._me, self._network, self._wall_ms, self._rng = me, network, wall_ms, rng
        self._counter = 0
        """Of our newest ballot: wall-clock milliseconds, or one above all that it had to beat."""

    def ballot(self, fence: int, heard: Ballot | None) -> Ballot:
        """A new one, above all of ours and above what was heard of."""
        floor = max(self._counter, heard.counter if heard is not None else 0)
        self._counter = max(self._wall_ms(), floor + 1)
        return Ballot(fence, self._counter, self._me.peer_id, self._rng.getrandbits(32))

    def claim(self, right: NameRight, name: str, ballot: Ballot) -> Signed:
        """That the ballot is ours to use on that name."""
        assert right.signer is not None, "NamesOfOne and write refuse others"
        claim = BallotClaim(right.owner, name, ballot, right.grant)
        return seal(
            right.signer, self._network, BALLOT_DOMAIN, claim,
            sequence=ballot.fence, expires_ms=self._wall_ms() + NAME_KEPT_MS,
        )  # fmt: skip

    def seal(self, right: NameRight, record: NameRecord) -> Signed:
        """A record as it is kept by its holders."""
        assert right.signer is not None, "NamesOfOne and write refuse others"
        kept_ms = NAME_KEPT_MS if right.grant is None else NAME_GRANTED_KEPT_MS
        return seal(
            right.signer, self._network, NAME_DOMAIN, record,
            sequence=record.sequence, expires_ms=self._wall_ms() + kept_ms,
        )  # fmt: skip
