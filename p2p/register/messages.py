"""Wire messages of the register: numbers 43-49, casts in class CONTROL.

    A  Held(digest) ----------------> B   now and then, and when B comes up
    A  <---------------- Keys(all of B)   where the digests differ
    A  Entries(what B lacks), Keys(all of A, is_answer) --> B
    A  <------------ Entries(what A lacks) B

Removals are exchanged at admission already (`p2p.host.admission.frames`); this is for those made
since, and for uses of invites.
"""

from p2p.wire.codec import Message
from p2p.wire.envelope import Signed


class Held(Message, frozen=True, tag=43):
    """A digest of all entries the sender holds; RegisterKeys answer one that differs."""

    digest: bytes


class RegisterKeys(Message, frozen=True, tag=44):
    """The keys of all entries the sender holds, 8 bytes each; answered by Entries."""

    keys: bytes
    is_answer: bool = False
    """The sender has been told the receiver's keys: no Keys are wanted in return."""


class Entries(Message, frozen=True, tag=45):
    """Removals and uses of invites; what is new to the receiver it passes on."""

    entries: tuple[Signed, ...]
