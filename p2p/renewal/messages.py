"""Wire messages of renewal: numbers 32-34 of the range of admission."""

from p2p.wire.codec import Message
from p2p.wire.envelope import Signed


class RenewRequest(Message, frozen=True, tag=32):
    """Call: sign my certificates anew. Refusals: early, no-key, out, clock, malformed, busy."""

    token: bytes
    lab_key: bool
    """The key of the sender's lab lies there."""


class Renewed(Message, frozen=True, tag=33):
    """Reply: certificates that last longer; who asked adds what its own keys sign."""

    certificates: tuple[Signed, ...]


class TokenShown(Message, frozen=True, tag=34):
    """Cast: my certificates were renewed; this connection need not end with the old ones."""

    token: bytes
