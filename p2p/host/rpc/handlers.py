"""Runs whoever answers the calls of others."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar, cast

import trio

from p2p.errors import RefusalError
from p2p.host.rpc.calls import Answer, IncomingCall, ServedKind
from p2p.host.rpc.conversation import Conversation
from p2p.host.rpc.payloads import UNSAYABLE, packed
from p2p.host.rpc.workers import RpcWorkers
from p2p.identity.caller import Caller
from p2p.wire.codec import Message, number_of

log = logging.getLogger("swarm")

M = TypeVar("M", bound=Message)

_CANCELLED_AT_ONCE: Final = 8
"""Handlers cancelled in one turn: each costs about 0.1 ms, and a peer may have hundreds."""


class Handlers:
    """The handlers of one node, those that run and those that may."""

    def __init__(self) -> None:
        self.kinds: dict[int, ServedKind] = {}
        """What is answered here, by the number of the kind."""
        self._workers = RpcWorkers(self._handle)
        self._nursery: trio.Nursery | None = None
        """Where handlers run; None before `run`."""

    def serve(
        self,
        kind: type[M],
        answer: Callable[[Caller, M, bytes], Awaitable[tuple[Message, bytes]]],
        reply_bytes: Callable[[M, int], int],
    ) -> None:
        """See Rpc.serve. Raises ValueError for a kind that is served already."""
        length = cast("Callable[[Message, int], int]", reply_bytes)
        entry = ServedKind(kind, cast("Answer", answer), length)
        if self.kinds.setdefault(number_of(kind), entry) is not entry:
            raise ValueError(f"{kind.__name__} is served already")

    async def run(self, nursery: trio.Nursery) -> None:
        """Run handlers in that nursery until cancelled."""
        self._nursery = nursery
        await self._workers.run()

    def start(
        self, conversation: Conversation, call: IncomingCall, scope: trio.CancelScope
    ) -> None:
        """Answer a whole question, in a task of its own."""
        assert self._nursery is not None, "nothing is heard before Rpc.run"
        self._workers.start(self._nursery, conversation, call, scope)

    async def cancel_all(self, scopes: Sequence[trio.CancelScope]) -> None:
        """Stop the handlers of a peer that is gone, a few in each turn."""
        for at, scope in enumerate(scopes):
            if at % _CANCELLED_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            scope.cancel()

    async def _handle(
        self, conversation: Conversation, call: IncomingCall, scope: trio.CancelScope
    ) -> None:
        try:
            with scope:
                try:
                    reply, body = await call.answer(call.caller, call.request, call.body.take())
                except RefusalError as refusal:
                    conversation.refuse(call, refusal.code, refusal.detail)
                else:
                    _answer(conversation, call, reply, body)
        finally:
            conversation.end(call)


def _answer(conversation: Conversation, call: IncomingCall, reply: Message, body: bytes) -> None:
    """A reply is made of what others brought, too: one that fits no message ends nothing."""
    if len(body) > call.reply_bytes:
        size = f"{len(body)} bytes, {call.reply_bytes} were promised"
        raise ValueError(f"{type(reply).__name__} has a body of {size}")
    try:
        payload = packed(reply)
    except UNSAYABLE as fault:
        log.debug("%s asked for what no message can tell: %s", conversation.channel.peer, fault)
        conversation.refuse(call, "too-long", str(fault))
    else:
        conversation.answer(call, payload, body)
