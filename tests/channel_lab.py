"""Two ends of a channel, joined by hand: no task, no clock but ours."""

from collections import deque
from collections.abc import Sequence
from typing import assert_never

from p2p.host.rpc.bounds import CallBounds, RpcConfig
from p2p.host.rpc.calls import IncomingCall, OutgoingCall
from p2p.host.rpc.channel import Channel
from p2p.host.rpc.effects import BeganAnew, CallOver, CutOff, RpcEffect, StartHandler, StopHandler
from p2p.host.rpc.frames import decode_frame
from p2p.host.rpc.handlers import Handlers
from p2p.host.rpc.messages import Cast
from p2p.ids import PeerId, TrafficClass
from p2p.limits import BODY_WINDOW_BYTES
from p2p.wire.codec import Message, encode
from testnet.sim.callers import machine_of
from tests.rpc_lab import Question, Verdict, as_long, echo

HANDLERS = Handlers()
HANDLERS.serve(Question, echo, as_long)


class End:
    """One end: what its channel asked for, in the order it did."""

    def __init__(self, own: PeerId, peer: PeerId, bounds: CallBounds | None = None) -> None:
        self.bounds = bounds or CallBounds(own, RpcConfig())
        self.channel = Channel(peer, 1, HANDLERS.kinds, self.bounds)
        self.bounds.opened(peer, TrafficClass.NORMAL, self.channel)
        self.peer = machine_of(peer)
        self.over: list[OutgoingCall] = []
        self.running: dict[int, IncomingCall] = {}
        self.stopped: list[int] = []
        self.cut_off: list[PeerId] = []
        self.anew: list[int] = []

    def attend(self, now_s: float) -> None:
        """Carry out all that the channel asks for."""
        while (effect := self.channel.next_effect(now_s)) is not None:
            self._note(effect)

    def _note(self, effect: RpcEffect) -> None:
        match effect:
            case CallOver(call):
                self.over.append(call)
            case StartHandler(call):
                self.running[call.id] = call
            case StopHandler(call):
                self.stopped.append(call.id)
            case BeganAnew(epoch):
                self.anew.append(epoch)
            case CutOff(peer, _):
                self.cut_off.append(peer)
            case _:
                assert_never(effect)

    def answer(self, call: IncomingCall, body: bytes = b"") -> None:
        """As a handler that says yes and is done."""
        self.channel.answer(call, encode(Verdict("yes")), body)
        self.end(call)

    def end(self, call: IncomingCall) -> None:
        """As a handler that is done."""
        del self.running[call.id]
        self.channel.end(call)

    @property
    def is_idle(self) -> bool:
        """True when it owes nothing, holds nothing and could send a whole window."""
        channel = self.channel
        return (
            not channel.has_frames
            and not len(channel.outgoing)
            and not len(channel.incoming)
            and channel.body_bytes == 0
            and channel.bodies.held == [0, 0]
            and channel.bodies.window == [BODY_WINDOW_BYTES, BODY_WINDOW_BYTES]
        )


class Pair:
    """Alice and Bob, and the frames that are under way between them."""

    def __init__(self, *, bounds: CallBounds | None = None) -> None:
        alice, bob = PeerId("alice"), PeerId("bob")
        self.ends = (End(alice, bob), End(bob, alice, bounds))
        self.alice, self.bob = self.ends
        self.now_s = 0.0
        self.under_way: tuple[deque[bytes], deque[bytes]] = (deque(), deque())
        """By who sent them."""
        self._last_id = 0

    def ask(self, end: End, body: bytes = b"", timeout_s: float = 10.0) -> OutgoingCall:
        """A call of one end, in its outbox now."""
        self._last_id += 1
        call = OutgoingCall(self._last_id, "Question", Verdict, self.now_s + timeout_s)
        end.channel.ask(call, encode(Question("?")), body, int(timeout_s * 1000))
        return call

    def send(self, end: End) -> bool:
        """One frame of an end gets under way, if there is one."""
        next_frame = end.channel.next_frame()
        if next_frame is None:
            return False
        frame, expires_s = next_frame
        if self.now_s < expires_s:
            self.under_way[self.ends.index(end)].append(frame)
        return True

    def deliver(self, end: End) -> bool:
        """The oldest frame on its way to an end arrives, if there is one."""
        coming = self.under_way[1 - self.ends.index(end)]
        if not coming:
            return False
        frame = decode_frame(coming.popleft())
        assert not isinstance(frame, Cast)
        end.channel.receive(frame, end.peer, self.now_s)
        self.attend()
        return True

    def attend(self) -> None:
        """Both ends do what is to be done, and are as they must be."""
        for end in self.ends:
            end.attend(self.now_s)
            end.channel.check_invariants()

    def settle(self) -> Sequence[Message]:
        """Send and deliver until nothing moves; what was said, in order."""
        said: list[Message] = []
        self.attend()
        moves = True
        while moves:
            moves = False
            for end, other in (self.ends, self.ends[::-1]):
                while self.send(end):
                    moves = True
                said += map(decode_frame, self.under_way[self.ends.index(end)])
                while self.deliver(other):
                    moves = True
        return said
