"""Calls of others: let in within bounds, and answered by whoever serves them."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar, cast

import trio

from p2p.errors import RefusalError, WireError
from p2p.host.rpc.calls import Answer, Incoming, Serving
from p2p.host.rpc.channel import Channel
from p2p.host.rpc.messages import Call
from p2p.host.rpc.workers import RpcWorkers
from p2p.identity.caller import Caller
from p2p.ids import PeerId, TrafficClass
from p2p.limits import (
    ANSWERS_WAITING_MAX,
    BODIES_BYTES_MAX,
    BODY_BYTES_MAX,
    CALL_TIMEOUT_S_MAX,
    CALLS_INBOUND_MAX,
    PAYLOAD_BYTES_MAX,
)
from p2p.wire.codec import Message, decode_as, encode, number_in, number_of

log = logging.getLogger("swarm")

M = TypeVar("M", bound=Message)
ReplyBytes = Callable[[Message, int], int]

UNSAYABLE: Final = (ValueError, OverflowError)
"""What `packed` raises: too long, a number that no message has, a text that is no UTF-8."""
_CANCELLED_AT_ONCE: Final = 8
"""Handlers cancelled in one turn: each costs about 0.1 ms, and a peer may have hundreds."""


@dataclass(frozen=True, slots=True)
class RpcConfig:
    """Bounds of one node's calls."""

    calls_inbound_max: int = CALLS_INBOUND_MAX
    bodies_bytes_max: int = BODIES_BYTES_MAX


@dataclass(frozen=True, slots=True)
class _Served:
    """How calls of one kind are answered."""

    kind: type[Message]
    answer: Answer
    reply_bytes: ReplyBytes


class Answering:
    """Admits calls of all peers and runs their handlers."""

    def __init__(
        self,
        own: PeerId,
        channels: Mapping[tuple[PeerId, TrafficClass], Channel],
        config: RpcConfig,
        cut_off: Callable[[PeerId, str], None],
    ) -> None:
        """`cut_off` ends the conversation with a peer that has us hold too much."""
        self._own = own
        self._channels = channels
        """All that are open: Rpc opens and closes them."""
        self._config = config
        self._cut_off = cut_off
        self._served: dict[int, _Served] = {}
        """By the number of the kind."""
        self._workers = RpcWorkers(self._answer)
        self._nursery: trio.Nursery | None = None
        """Where handlers run; None before `run`."""

    def serve(
        self,
        kind: type[M],
        answer: Callable[[Caller, M, bytes], Awaitable[tuple[Message, bytes]]],
        reply_bytes: Callable[[M, int], int],
    ) -> None:
        """See Rpc.serve. Raises ValueError for a kind that is served already."""
        entry = _Served(kind, cast("Answer", answer), cast("ReplyBytes", reply_bytes))
        if self._served.setdefault(number_of(kind), entry) is not entry:
            raise ValueError(f"{kind.__name__} is served already")

    async def run(self, nursery: trio.Nursery) -> None:
        """Run handlers in that nursery until cancelled."""
        self._nursery = nursery
        await self._workers.run()

    def on_call(self, caller: Caller, channel: Channel, call: Call) -> None:
        """A question came; its body follows. Raises WireError for what no honest peer sends."""
        if not 0 <= call.body_len <= BODY_BYTES_MAX:
            raise WireError(f"call {call.id} with a body of {call.body_len} bytes")
        if channel.answers_waiting >= ANSWERS_WAITING_MAX:
            raise WireError("the peer goes on asking and takes no answers")
        if channel.has_come(call.id):
            channel.answer_again(call)
            return
        kind = self._served.get(number_in(call.payload))
        if kind is None:
            channel.refuse(call.id, "unknown", "this peer does not serve such calls")
        elif self._calls_from(channel.peer) >= self._config.calls_inbound_max:
            channel.refuse(call.id, "busy", "too many calls are open: wait for some to end")
        elif not self._has_memory_for(channel, call.body_len):
            channel.refuse(call.id, "busy", "too many bodies are on their way: wait for some")
        else:
            self._begin(caller, channel, call, kind)

    def _begin(self, caller: Caller, channel: Channel, call: Call, kind: _Served) -> None:
        request = decode_as(kind.kind, call.payload)
        timeout_s = min(max(call.deadline_ms, 0) / 1000, CALL_TIMEOUT_S_MAX)
        reply_bytes = kind.reply_bytes(request, call.body_len)
        served = Serving(
            call.id,
            caller,
            request,
            kind.answer,
            Incoming(call.body_len),
            min(max(reply_bytes, 0), BODY_BYTES_MAX),
            trio.CancelScope(deadline=trio.current_time() + timeout_s),
        )
        channel.begin_serving(served)
        if served.body.is_whole:
            channel.ready(served)

    def start(self, channel: Channel, served: Serving) -> None:
        """There is room in the channel for the reply to a whole request: answer it."""
        if trio.current_time() >= served.scope.deadline:
            channel.end_serving(served)  # nobody waits for it any more
        elif not self._has_memory_for(channel, served.reply_bytes):
            channel.refuse(served.id, "busy", "take the answers you asked for first")
            channel.end_serving(served)
        else:
            channel.reserve(served)
            assert self._nursery is not None, "nothing is heard before Rpc.run"
            self._workers.start(self._nursery, channel, served)

    async def _answer(self, channel: Channel, served: Serving) -> None:
        try:
            with served.scope:
                try:
                    body = served.body.take()
                    reply, reply_body = await served.answer(served.caller, served.request, body)
                except RefusalError as refusal:
                    channel.refuse_served(served, refusal.code, refusal.detail)
                else:
                    if len(reply_body) > served.reply_bytes:
                        size = f"{len(reply_body)} bytes, {served.reply_bytes} were promised"
                        raise ValueError(f"{type(reply).__name__} has a body of {size}")
                    self._reply(channel, served, reply, reply_body)
        finally:
            channel.end_serving(served)

    def _reply(self, channel: Channel, served: Serving, reply: Message, body: bytes) -> None:
        """A reply is made of what others brought, too: one that fits no message ends nothing."""
        try:
            payload = packed(reply)
        except UNSAYABLE as fault:
            log.debug("%s asked for what no message can tell: %s", channel.peer, fault)
            channel.refuse_served(served, "too-long", str(fault))
        else:
            channel.reply(served, payload, body)

    async def cancel_all(self, handlers: list[Serving]) -> None:
        """Stop the handlers of a peer that is gone, a few in each turn."""
        for at, served in enumerate(handlers):
            if at % _CANCELLED_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            served.scope.cancel()

    def _has_memory_for(self, channel: Channel, size: int) -> bool:
        """Whether a body may be kept for a peer; whoever holds the most makes room for others."""
        if not size or channel.peer == self._own:
            return True
        held = dict.fromkeys((peer for peer, _ in self._channels), 0)
        for (peer, _), one in self._channels.items():
            held[peer] += one.body_bytes
        held.pop(self._own, None)
        if sum(held.values()) + size <= self._config.bodies_bytes_max:
            return True
        greediest = max(held, key=lambda peer: held[peer])
        if held.get(channel.peer, 0) + size >= held[greediest]:
            return False
        self._cut_off(greediest, "it had this node hold more than any other peer")
        return True

    def _calls_from(self, peer: PeerId) -> int:
        channels = self._channels
        total = 0
        for traffic_class in TrafficClass:
            if channel := channels.get((peer, traffic_class)):
                total += len(channel.serving)
        return total


def packed(message: Message) -> bytes:
    """A message as the payload of a frame. Raises one of UNSAYABLE."""
    payload = encode(message)
    if len(payload) > PAYLOAD_BYTES_MAX:
        size = f"{len(payload)} bytes, limit {PAYLOAD_BYTES_MAX}"
        raise ValueError(f"{type(message).__name__} of {size}: send it as a body")
    return payload
