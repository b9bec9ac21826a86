"""The shell of a channel: one task that sends its frames, and whatever it asks for done."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias, assert_never

import trio

from p2p.host.rpc.calls import IncomingCall, OutgoingCall
from p2p.host.rpc.channel import Channel
from p2p.host.rpc.events import CallOver, CutOff, Event, StartHandler, StopHandler
from p2p.identity.caller import Caller
from p2p.ids import PeerId, TrafficClass
from p2p.wire.codec import Message

Transmit: TypeAlias = Callable[[bytes, float], Awaitable[None]]
"""Hands a frame to the host, with the time by which it must have begun to leave."""
RunHandler: TypeAlias = Callable[["Conversation", IncomingCall, trio.CancelScope], None]


class Conversation:
    """Carries one channel."""

    def __init__(
        self,
        channel: Channel,
        traffic_class: TrafficClass,
        transmit: Transmit,
        start: RunHandler,
        cut_off: Callable[[PeerId, str], None],
    ) -> None:
        self.channel = channel
        self.traffic_class = traffic_class
        self._transmit = transmit
        self._start = start
        """Begins a handler, which ends with `end`."""
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
                    self.attend()
                    await self._transmit(*frame)

    async def ask(self, call: OutgoingCall, payload: bytes, body: bytes, deadline_ms: int) -> None:
        """Ask the peer, and wait until the call is over."""
        over = self._callers[call.id] = trio.Event()
        self.channel.ask(call, payload, body, deadline_ms)
        try:
            self.attend()
            await over.wait()
        finally:
            self._callers.pop(call.id, None)
            self.channel.leave(call)
            self.attend()

    def receive(self, message: Message, caller: Caller | None) -> None:
        """Take a frame of the peer. Raises WireError."""
        self.channel.receive(message, caller, trio.current_time())
        self.attend()

    def end(self, call: IncomingCall) -> None:
        """Its handler has finished."""
        del self._handlers[call.id]
        self.channel.end(call)
        self.attend()

    def attend(self) -> None:
        """Do what the channel asks for, and have its frames sent."""
        now_s = trio.current_time()
        while (event := self.channel.next_event(now_s)) is not None:
            self._carry_out(event)
        if self._wake is not None and self.channel.has_frames:
            self._wake.set()
            self._wake = None

    def close(self, why: str) -> list[trio.CancelScope]:
        """End it: our calls fail. Returns what stops the handlers that run."""
        self._scope.cancel()
        self.channel.close(why)
        stopped: list[trio.CancelScope] = []
        while (event := self.channel.next_event(trio.current_time())) is not None:
            if isinstance(event, StopHandler):
                stopped.append(self._handlers[event.call.id])
            else:
                self._carry_out(event)
        return stopped

    def _carry_out(self, event: Event) -> None:
        match event:
            case CallOver(call):
                self._callers.pop(call.id).set()
            case StartHandler(call):
                scope = trio.CancelScope(deadline=call.expires_s)
                self._handlers[call.id] = scope
                self._start(self, call, scope)
            case StopHandler(call):
                self._handlers[call.id].cancel()
            case CutOff(peer, why):
                self._cut_off(peer, why)
            case _:
                assert_never(event)
