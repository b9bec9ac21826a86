"""What is stored and said about mutable names (storage.records.names.core has the rules)."""

from typing import Final

from p2p.ids import PeerId
from p2p.wire.codec import Message, Record
from p2p.wire.envelope import Signed

NAME_DOMAIN: Final = "swarm name"
"""What a name's record is signed for."""

BALLOT_DOMAIN: Final = "swarm name ballot"
"""What an attempt to change a name is signed for."""

GRANT_DOMAIN: Final = "swarm name grant"
"""What the owner of names signs for a machine that may write them."""


class Ballot(Record, frozen=True, order=True):
    """One attempt to read or change a name; a higher one overrules a lower one.

    The fence comes first, so that whatever a newer owner of the name has begun cannot be
    overtaken by an older one. The nonce keeps ballots apart when a machine forgets its last one.
    """

    fence: int
    counter: int
    peer: PeerId
    nonce: int


class NameGrant(Record, frozen=True):
    """One machine may write the signer's names, under this fence and no other."""

    machine: PeerId
    fence: int


class BallotClaim(Record, frozen=True):
    """Whose attempt a ballot is: signed by the owner's key, or by the machine of a grant."""

    owner: str
    name: str
    ballot: Ballot
    grant: Signed | None = None
    """A sealed NameGrant of the owner's, when the signer is another."""


class NameRecord(Record, frozen=True):
    """A name's value at one sequence, signed by the owner's key or by the machine of a grant."""

    owner: str
    """The id of the key it belongs to."""
    name: str
    sequence: int
    fence: int
    value: bytes
    previous: bytes
    """BLAKE3 of the packed record this one replaces; empty for the first."""
    grant: Signed | None = None
    """A sealed NameGrant of the owner's, when the signer is another."""


class NameState(Record, frozen=True):
    """What one holder keeps of a name."""

    promised: Ballot | None = None
    """Lower ballots are refused."""
    accepted: Ballot | None = None
    """The ballot under which `sealed` was accepted."""
    sealed: Signed | None = None
    """A sealed NameRecord."""
    promise_claim: Signed | None = None
    """The sealed BallotClaim of `promised`; None when that is `accepted`."""
    accept_claim: Signed | None = None
    """The sealed BallotClaim of `accepted`."""


class NameRead(Message, frozen=True, tag=85):
    """What do you keep of this name? Answered by NameHeld."""

    key: bytes


class NamePrepare(Message, frozen=True, tag=86):
    """Promise to refuse lower ballots, and tell what you keep. Answered by NameHeld.

    Refusals: not-yours, full, corrupt.
    """

    key: bytes
    ballot: Ballot
    claim: Signed | None = None
    """A sealed BallotClaim: without one nothing is promised."""


class NameAccept(Message, frozen=True, tag=87):
    """Keep this record unless a higher ballot was promised. Answered by NameHeld.

    Anybody may bring it: record and ballot are signed. Refusals: not-yours, full, corrupt, expired.
    """

    ballot: Ballot
    sealed: Signed
    claim: Signed | None = None
    """A sealed BallotClaim: without one nothing is kept."""


class NameHeld(Message, frozen=True, tag=88):
    """The state after the request; `done` says whether the request was granted."""

    done: bool
    state: NameState
