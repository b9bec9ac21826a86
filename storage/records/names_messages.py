"""What is stored and said about mutable names (storage.records.names_core has the rules)."""

from p2p.ids import PeerId
from p2p.wire.codec import Message, Record
from p2p.wire.envelope import Signed

NAME_DOMAIN = "swarm name"
"""What a name's record is signed for."""


class Ballot(Record, frozen=True, order=True):
    """One attempt to read or change a name; a higher one overrules a lower one.

    The fence comes first, so that whatever a newer owner of the name has begun cannot be
    overtaken by an older one. The nonce keeps ballots apart when a machine forgets its last one.
    """

    fence: int
    counter: int
    peer: PeerId
    nonce: int


class NameRecord(Record, frozen=True):
    """A name's value at one sequence, signed by the machine that wrote it."""

    owner: str
    """The only machine that may write it; empty when every member may (the fence decides)."""
    name: str
    sequence: int
    fence: int
    value: bytes
    previous: bytes
    """BLAKE3 of the packed record this one replaces; empty for the first."""


class NameState(Record, frozen=True):
    """What one holder keeps of a name."""

    promised: Ballot | None = None
    """Lower ballots are refused."""
    accepted: Ballot | None = None
    """The ballot under which `sealed` was accepted."""
    sealed: Signed | None = None
    """A sealed NameRecord."""


class NameRead(Message, frozen=True, tag=85):
    """What do you keep of this name? Answered by NameHeld."""

    key: bytes


class NamePrepare(Message, frozen=True, tag=86):
    """Promise to refuse lower ballots, and tell what you keep. Answered by NameHeld."""

    key: bytes
    ballot: Ballot


class NameAccept(Message, frozen=True, tag=87):
    """Keep this record unless a higher ballot was promised. Answered by NameHeld."""

    ballot: Ballot
    sealed: Signed


class NameHeld(Message, frozen=True, tag=88):
    """The state after the request; `done` says whether the request was granted."""

    done: bool
    state: NameState
