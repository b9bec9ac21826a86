"""A frame that waits to leave: all but those of bodies."""

from typing import NamedTuple

from p2p.host.rpc.calls import OutgoingCall


class SmallFrame(NamedTuple):
    """Small frames go before those of bodies."""

    frame: bytes
    call: OutgoingCall | None = None
    """The call of ours that it begins, if it does: it stays here when its caller has left."""
