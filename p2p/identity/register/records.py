"""Entries of the register, as signed and kept. Each is a `Signed` that has no end of its own."""

from hashlib import blake2b
from typing import Final

from p2p.identity.records import MembershipToken
from p2p.limits import WALL_MS_MAX
from p2p.wire.codec import Record, encode
from p2p.wire.envelope import Signed

REMOVAL_DOMAIN: Final = "swarm/removal"
USE_DOMAIN: Final = "swarm/invite-use"
NEVER_MS: Final = WALL_MS_MAX
"""`expires_ms` of entries."""
KEY_BYTES: Final = 8


class Removal(Record, frozen=True):
    """`subject` is out since the envelope's `sequence` (wall clock, milliseconds since 1970)."""

    subject: str
    """Id of a machine, person, lab or invite."""
    name: str
    """What the remover called it, for status and log."""
    proof: tuple[Signed, ...] = ()
    """Certificates that show the sender to be a lab or person; none for the network's key."""
    closes: bool = False
    """The subject is an invite, and those who came with it before may stay."""


class Use(Record, frozen=True):
    """Somebody used an invite; the sender let them in at `sequence`, by its own clock."""

    certificate: Signed
    """What the invite key signed for them."""
    witness: MembershipToken
    """That the sender is a machine of the network."""


def key_of(sealed: Signed) -> bytes:
    """What an entry is told apart by: the same on every node."""
    return blake2b(encode(sealed), digest_size=KEY_BYTES).digest()


def digest_of(keys: list[bytes]) -> bytes:
    """Equal for equal sets of keys; `keys` are sorted."""
    return blake2b(b"".join(keys), digest_size=16).digest()
