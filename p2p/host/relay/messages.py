"""What is said on a stream before it becomes a circuit (numbers 35-38).

    /swarm/<network>/relay/1      who wants a circuit, to the relay
    /swarm/<network>/relayed/1    the relay, to the other end

One message each way; what follows CircuitOpened are the bytes of the two ends. CircuitRefused is
the last that comes on a stream.
"""

from p2p.ids import PeerId
from p2p.wire.codec import Message


class CircuitWanted(Message, tag=35, frozen=True):
    """Please carry a connection of mine to `target`; `is_bulk`: a second one, behind others."""

    target: PeerId
    is_bulk: bool = False


class CircuitOffered(Message, tag=36, frozen=True):
    """`source` wants to talk to you through me; who it is it proves itself."""

    source: PeerId
    is_bulk: bool = False


class CircuitOpened(Message, tag=37, frozen=True):
    """Yes: from here on this stream carries the bytes of the two ends."""


class CircuitRefused(Message, tag=38, frozen=True):
    """No. `code` is one of `p2p.host.relay.rules.REFUSALS`, `detail` is for people."""

    code: str
    detail: str
