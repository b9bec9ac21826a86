"""Whatever two ends of a channel do in whatever order, each step leaves both as they must be."""

from hypothesis import given, settings
from hypothesis import strategies as st

from p2p.host.rpc.calls import OutgoingCall, OutgoingState
from p2p.limits import BODY_BYTES_MAX, BODY_CHUNK_BYTES
from tests.channel_lab import End, Pair

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["ask", "send", "deliver", "answer", "refuse", "end", "leave", "later", "settle"]
        ),
        st.integers(0, 1),
        st.integers(0, 9),
    ),
    max_size=60,
)
SIZES = (0, 0, 1, 4096, BODY_CHUNK_BYTES, BODY_CHUNK_BYTES + 1, 3_000_000, BODY_BYTES_MAX)


class Run:
    """A pair, its calls that were not left, and how to take a step."""

    def __init__(self) -> None:
        self.pair = Pair()
        self.calls: list[tuple[End, OutgoingCall]] = []

    def take(self, step: str, which: int, number: int) -> None:
        """Any step: those that are impossible now do nothing."""
        end = self.pair.ends[which]
        match step:
            case "ask":
                body = bytes(SIZES[number % len(SIZES)])
                self.calls.append((end, self.pair.ask(end, body, timeout_s=1.0 + number)))
            case "send":
                self.pair.send(end)
            case "deliver":
                self.pair.deliver(end)
            case "answer" | "refuse" | "end":
                self._handle(end, step, number)
            case "leave":
                if self.calls:
                    self.leave(number % len(self.calls))
            case "later":
                self.pair.now_s += number / 4
            case "settle":
                self.pair.settle()
        self.pair.attend()

    def _handle(self, end: End, step: str, number: int) -> None:
        if not end.running:
            return
        call = list(end.running.values())[number % len(end.running)]
        if step == "answer":
            end.answer(call, bytes(min(SIZES[number % len(SIZES)], call.reply_bytes)))
            return
        if step == "refuse":
            end.channel.refuse(call, "no", "as told")
        end.end(call)

    def leave(self, index: int) -> None:
        """A caller takes its answer, or waits no more."""
        end, call = self.calls.pop(index)
        assert (call in end.over) == (call.state is OutgoingState.DONE)
        end.channel.leave(call)

    def close(self) -> None:
        """Each end loses the other; callers and handlers go on for a moment."""
        for end in self.pair.ends:
            end.channel.close("gone")
        for frames in self.pair.under_way:
            frames.clear()
        self.pair.attend()
        while self.calls:
            self.leave(0)
            self.pair.attend()
        for end in self.pair.ends:
            for call in list(end.running.values()):
                end.answer(call, bytes(call.reply_bytes))
                self.pair.attend()

    def finish(self) -> None:
        """Every handler answers and every caller leaves."""
        for _ in range(200):
            self.pair.settle()
            running = [(end, call) for end in self.pair.ends for call in end.running.values()]
            if not running:
                break
            for end, call in running:
                end.answer(call, bytes(call.reply_bytes))
        while self.calls:
            self.leave(0)
        self.pair.settle()
        for end in self.pair.ends:
            for call in list(end.running.values()):
                end.end(call)
        self.pair.settle()


@settings(max_examples=200, deadline=None)
@given(steps=STEPS)
def test_when_the_peer_is_gone_all_calls_fail_and_nothing_leaves(
    steps: list[tuple[str, int, int]],
) -> None:
    run = Run()
    for step in steps:
        run.take(*step)
    asked = list(run.calls)
    run.close()
    assert all(call in end.over for end, call in asked)
    for end in run.pair.ends:
        assert end.channel.next_frame() is None
        assert end.channel.body_bytes == 0
        assert len(end.channel.outgoing) == len(end.channel.incoming) == 0


@settings(max_examples=300, deadline=None)
@given(steps=STEPS)
def test_after_any_steps_all_that_was_asked_ends_and_nothing_is_held(
    steps: list[tuple[str, int, int]],
) -> None:
    run = Run()
    for step in steps:
        run.take(*step)
    asked = [(end, call) for end, call in run.calls if call.expires_s > run.pair.now_s]
    run.finish()
    for end, call in asked:
        assert call in end.over or call.state is OutgoingState.LEFT
    assert all(end.is_idle for end in run.pair.ends)
    assert all(len(end.over) == len({call.id for call in end.over}) for end in run.pair.ends)
