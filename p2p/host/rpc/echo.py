"""Round trips through the whole stack, for people and benches: a call that comes straight back."""

from typing import Final

import trio

from p2p.host.rpc.service import Rpc
from p2p.identity.caller import Caller
from p2p.ids import PeerId, TrafficClass
from p2p.wire.codec import Message

ECHO_S: Final = 5.0
"""How long a peer may take: longer is as good as unreachable to whoever asks."""


class EchoRequest(Message, frozen=True, tag=10):
    """Send this back."""

    payload: bytes = b""


class EchoReply(Message, frozen=True, tag=11):
    """What came."""

    payload: bytes


class Echo:
    """Answers echoes, and measures them at others."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        rpc.serve(EchoRequest, _answer, reply_bytes=lambda _, body_len: body_len)

    async def ping(self, peer: PeerId, count: int) -> tuple[float, ...]:
        """Round trips in milliseconds, one after the other.

        Raises PeerUnreachableError, CallTimeoutError.
        """
        times: list[float] = []
        for _ in range(count):
            began_s = trio.current_time()
            await self._rpc.call(
                peer,
                EchoRequest(),
                EchoReply,
                traffic_class=TrafficClass.INTERACTIVE,
                timeout_s=ECHO_S,
            )
            times.append((trio.current_time() - began_s) * 1000)
        return tuple(times)


async def _answer(_caller: Caller, request: EchoRequest, body: bytes) -> tuple[EchoReply, bytes]:
    return EchoReply(request.payload), body
