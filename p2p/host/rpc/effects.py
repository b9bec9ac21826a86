"""What a channel asks of whoever carries it."""

from typing import TypeAlias

import msgspec

from p2p.host.rpc.calls import IncomingCall, OutgoingCall
from p2p.ids import PeerId


class CallOver(msgspec.Struct, frozen=True):
    """A call of ours has its reply, or failed: wake its caller."""

    call: OutgoingCall


class StartHandler(msgspec.Struct, frozen=True):
    """A question is whole and there is room for its answer: run its handler."""

    call: IncomingCall


class StopHandler(msgspec.Struct, frozen=True):
    """Nobody waits for the answer any more: cancel its handler."""

    call: IncomingCall


class BeganAnew(msgspec.Struct, frozen=True):
    """The peer's end is another one than before: end this channel, and begin one with that."""

    epoch: int


class CutOff(msgspec.Struct, frozen=True):
    """Another peer has us hold more than this one, who needs room: end that conversation."""

    peer: PeerId
    why: str


RpcEffect: TypeAlias = CallOver | StartHandler | StopHandler | BeganAnew | CutOff
