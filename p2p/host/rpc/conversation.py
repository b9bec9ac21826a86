"""The shell of a channel: one task that sends its frames, and whatever it asks for done."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias, assert_never

import trio

from p2p.host.rpc.calls import IncomingCall, OutgoingCall
from p2p.host.rpc.channel import Channel
from p2p.host.rpc.effects import BeganAnew, CallOver, CutOff, RpcEffect, StartHandler, StopHandler
from p2p.host.rpc.frames import ChannelFrame
from p2p.identity.caller import Caller
from p2p.ids import PeerId, TrafficClass

Transmit: TypeAlias = Callable[[bytes, float], Awaitable[None]]
"""Hands a frame to the host, with the time by which it must have begun to leave."""
BeginAnew: TypeAlias = Callable[["Conversation", int], None]
RunHandler: TypeAlias = Callable[["Conversation", IncomingCall, trio.CancelScope], None]


class Conversation:
    """Carries one channel."""

    def __init__(
        self,
        channel: Channel,
        traffic_class: TrafficClass,
        transmit: Transmit,
        start: RunHandler,
        begin_anew: BeginAnew,
        cut_off: Callable[[PeerId, str], None],
    ) -> None:
        self.channel = channel
        self.traffic_class = traffic_class
        self._transmit = transmit
        self._start = start
        """Begins a handler, which ends with `end`."""
        self._begin_anew = begin_anew
        """Ends this one, and begins one with the peer's new end."""
        self._cut_off = cut_off
        """Ends the conversations with a peer."""
        self._callers: dict[int, trio.Event] = {}
        """By the id of a call of ours that is not over: who waits for it."""
        self._handlers: dict[int, trio.CancelScope] = {}
        """By the id of a call of theirs whose handler runs: what stops it."""
        self._wake: trio.Event | None = None
        """Set to send what there is; None while that is going on."""
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Send until closed; PeerUnreachableError is the host's."""
        with self._scope:
            while True:
                frame = self.channel.next_frame()
                if frame is None:
                    self._wake = trio.Event()
                    await self._wake.wait()
                else:
                    if self.channel.has_effects:  # what has left made room for a reply
                        self._do_what_is_due(trio.current_time())
                    await self._transmit(*frame)

    def ask(self, call: OutgoingCall, payload: bytes, body: bytes, deadline_ms: int) -> trio.Event:
        """Ask the peer: the event is set when the call is over. Then, or before, `leave` it."""
        over = self._callers[call.id] = trio.Event()
        self.channel.ask(call, payload, body, deadline_ms)
        self._wake_up()
        return over

    def leave(self, call: OutgoingCall) -> None:
        """The caller has its answer, or waits no more."""
        self._callers.pop(call.id, None)
        self.channel.leave(call)
        self._wake_up()

    def receive(self, frame: ChannelFrame, caller: Caller | None) -> None:
        """Take a frame of the peer. Raises WireError."""
        now_s = trio.current_time()
        self.channel.receive(frame, caller, now_s)
        if self.channel.has_effects:
            self._do_what_is_due(now_s)
        self._wake_up()

    def answer(self, call: IncomingCall, payload: bytes, body: bytes) -> None:
        """What a handler says; it leaves once that ends."""
        self.channel.answer(call, payload, body)

    def refuse(self, call: IncomingCall, code: str, detail: str) -> None:
        """The same, with a no."""
        self.channel.refuse(call, code, detail)

    def end(self, call: IncomingCall) -> None:
        """Its handler has finished."""
        del self._handlers[call.id]
        self.channel.end(call)
        if self.channel.has_effects:
            self._do_what_is_due(trio.current_time())
        self._wake_up()

    def _do_what_is_due(self, now_s: float) -> None:
        while (effect := self.channel.next_effect(now_s)) is not None:
            self._carry_out(effect)

    def _wake_up(self) -> None:
        if self._wake is not None and self.channel.has_frames:
            self._wake.set()
            self._wake = None

    def close(self, why: str) -> list[trio.CancelScope]:
        """End it: our calls fail. Returns what stops the handlers that run."""
        self._scope.cancel()
        self.channel.close(why)
        stopped: list[trio.CancelScope] = []
        while (effect := self.channel.next_effect(trio.current_time())) is not None:
            if isinstance(effect, StopHandler):
                stopped.append(self._handlers[effect.call.id])
            else:
                self._carry_out(effect)
        return stopped

    def _carry_out(self, effect: RpcEffect) -> None:
        match effect:
            case CallOver():
                self._callers.pop(effect.call.id).set()
            case StartHandler():
                scope = trio.CancelScope(deadline=effect.call.expires_s)
                self._handlers[effect.call.id] = scope
                self._start(self, effect.call, scope)
            case StopHandler(call):
                self._handlers[call.id].cancel()
            case BeganAnew(epoch):
                self._begin_anew(self, epoch)
            case CutOff(peer, why):
                self._cut_off(peer, why)
            case _:
                assert_never(effect)
