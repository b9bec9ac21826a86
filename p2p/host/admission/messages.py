"""What two machines say to each other right after the handshake (numbers 20-23).

    dialler                     dialled
    Hello  ------------------->  checks it; refuses, or shows its own token
           <-------------------  Hello
    checks it
    (Removals, where the two hold different ones)
    Welcome ------------------>  both are in

Either side may answer Refusal instead; that ends the exchange and the connection. A stranger who
dials us never sees our token, nor which network we are in.
"""

from p2p.ids import NetworkId
from p2p.wire.codec import Message
from p2p.wire.envelope import Signed


class Hello(Message, tag=20, frozen=True):
    """Who I am: `token` is an encoded MembershipToken for the key I have just proved."""

    version: int
    network: NetworkId
    wall_ms: int
    """The sender's wall clock, milliseconds since 1970."""
    token: bytes
    removals: bytes = b""
    """A digest of the removals the sender holds; empty from one that knows of none."""


class Welcome(Message, tag=21, frozen=True):
    """Your token is good."""


class Refusal(Message, tag=22, frozen=True):
    """You are not admitted. `code` is that of AdmissionError, `detail` is for people."""

    code: str
    detail: str


class RemovalsTold(Message, tag=23, frozen=True):
    """Who was removed, told before either side serves the other; the order is in `frames`."""

    keys: bytes = b""
    """8 bytes each: of all that is held, or of what is asked for."""
    entries: tuple[Signed, ...] = ()
    is_last: bool = True
