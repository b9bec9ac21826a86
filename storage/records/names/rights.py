"""Who may change a name: whoever has its owner's key, or the machine of a grant by that key.

Everything here is proved by signatures alone, whoever brings it: so records may be handed on from
holder to holder, and no holder can make up a ballot that locks a name's owner out.
"""

from typing import Final

import msgspec

from p2p.errors import WireError
from p2p.ids import NetworkId, PeerId
from p2p.wire.codec import Record
from p2p.wire.envelope import RecordT, Signed, Signer, open_signed, seal
from storage.limits import (
    NAME_CHARS_MAX,
    NAME_NUMBER_MAX,
    NAME_OWNER_CHARS_MAX,
    NAME_VALUE_BYTES_MAX,
    NAMES_OPENED_KEPT,
)
from storage.records.names.core import is_sane, name_key
from storage.records.names.messages import (
    BALLOT_DOMAIN,
    GRANT_DOMAIN,
    NAME_DOMAIN,
    Ballot,
    BallotClaim,
    NameGrant,
    NameRecord,
    NameState,
)

GRANTED_MS: Final = 90 * 24 * 3600 * 1000
"""When a grant ends by its own words; what really ends it is a higher fence."""


def grant_names(
    owner: Signer, network: NetworkId, machine: PeerId, fence: int, now_ms: int
) -> Signed:
    """Let a machine write the names of the owner's key, under that fence only."""
    grant = NameGrant(machine, fence)
    return seal(owner, network, GRANT_DOMAIN, grant, sequence=fence, expires_ms=now_ms + GRANTED_MS)


class NameRight(msgspec.Struct, frozen=True):
    """What somebody may do with the names of one owner."""

    owner: str
    signer: Signer | None = None
    """The owner's key, or that of a granted machine; None: names may only be read."""
    grant: Signed | None = None
    fence: int | None = None
    """The only fence of a grant."""


class NameRights:
    """Opens what is signed about names; remembers what it has checked."""

    def __init__(self, verifier: Signer, network: NetworkId) -> None:
        self._verifier, self._network = verifier, network
        self._opened: dict[bytes, tuple[Signed, Record]] = {}
        """By signature: what was verified, the newest NAMES_OPENED_KEPT."""

    def grant(self, sealed: Signed) -> NameGrant:
        """A grant. Raises WireError."""
        return self._open(GRANT_DOMAIN, NameGrant, sealed)

    def record(self, sealed: Signed) -> NameRecord:
        """A record that its signer might write. Raises WireError."""
        record = self._open(NAME_DOMAIN, NameRecord, sealed)
        is_short = len(record.value) <= NAME_VALUE_BYTES_MAX
        is_numbered = 1 <= record.sequence <= NAME_NUMBER_MAX
        if not is_short or not is_numbered or not 0 <= record.fence <= NAME_NUMBER_MAX:
            raise WireError("no honest machine writes such a record")
        self._check_signer(record.owner, record.name, record.fence, sealed.sender, record.grant)
        return record

    def claim(self, sealed: Signed) -> BallotClaim:
        """A ballot that its signer might use. Raises WireError."""
        claim = self._open(BALLOT_DOMAIN, BallotClaim, sealed)
        if not is_sane(claim.ballot):
            raise WireError("no honest ballot counts so far")
        fence = claim.ballot.fence
        self._check_signer(claim.owner, claim.name, fence, sealed.sender, claim.grant)
        return claim

    def check_claim(self, key: bytes, ballot: Ballot, sealed: Signed | None) -> BallotClaim:
        """The claim of that ballot on that name. Raises WireError when it proves no such thing."""
        if sealed is None:
            raise WireError("a ballot that nobody has signed")
        claim = self.claim(sealed)
        if claim.ballot != ballot or name_key(claim.owner, claim.name) != key:
            raise WireError("a ballot signed for something else")
        return claim

    def check_state(self, key: bytes, state: NameState) -> NameRecord | None:
        """The record of a state that another holder told. Raises WireError for what it made up."""
        if state.promised is not None and state.promised != state.accepted:
            self.check_claim(key, state.promised, state.promise_claim)
        if state.sealed is None or state.accepted is None:
            if state.sealed is not None or state.accepted is not None:
                raise WireError("a record without a ballot, or a ballot without its record")
            return None
        if state.promised is None or state.promised < state.accepted:
            raise WireError("more was accepted than was promised")
        self.check_claim(key, state.accepted, state.accept_claim)
        record = self.record(state.sealed)
        if name_key(record.owner, record.name) != key or record.fence > state.accepted.fence:
            raise WireError("a record of another name, or of a later fence")
        return record

    def _check_signer(
        self, owner: str, name: str, fence: int, sender: PeerId, sealed_grant: Signed | None
    ) -> None:
        if not 0 < len(name) <= NAME_CHARS_MAX or not 0 < len(owner) <= NAME_OWNER_CHARS_MAX:
            raise WireError("not a name")
        if sender == owner:
            return
        if sealed_grant is None or sealed_grant.sender != owner:
            raise WireError(f"{sender} may not write the names of {owner}")
        grant = self.grant(sealed_grant)
        if (grant.machine, grant.fence) != (sender, fence):
            raise WireError(f"{sender} may not write the names of {owner} under fence {fence}")

    def _open(self, domain: str, kind: type[RecordT], sealed: Signed) -> RecordT:
        known = self._opened.get(sealed.signature)
        if known is not None and known[0] == sealed and isinstance(known[1], kind):
            return known[1]
        opened = open_signed(self._verifier, self._network, domain, kind, sealed)
        self._opened[sealed.signature] = (sealed, opened)
        if len(self._opened) > NAMES_OPENED_KEPT:
            del self._opened[next(iter(self._opened))]
        return opened
