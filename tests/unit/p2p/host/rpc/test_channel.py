"""A channel as a core: two ends, joined by hand."""

import pytest

from p2p.errors import PeerUnreachableError, RemoteRefusalError, WireError
from p2p.host.rpc.bounds import CallBounds, RpcConfig
from p2p.host.rpc.calls import (
    INCOMING_STEPS,
    OUTGOING_STEPS,
    IncomingCall,
    IncomingState,
    OutgoingState,
)
from p2p.host.rpc.frames import ChannelFrame, decode_frame
from p2p.host.rpc.messages import (
    BodyKind,
    Call,
    Cancel,
    ChannelOpened,
    Chunk,
    Credit,
    Refused,
    Reply,
)
from p2p.ids import PeerId
from p2p.limits import (
    ANSWERS_WAITING_MAX,
    BODY_BYTES_MAX,
    BODY_CHUNK_BYTES,
    BODY_WINDOW_BYTES,
)
from p2p.wire.codec import encode
from tests.channel_lab import End, Pair
from tests.rpc_lab import Question, Verdict


@pytest.fixture
def pair() -> Pair:
    """Two ends that have opened their channel."""
    pair = Pair()
    pair.settle()
    return pair


def kinds(said: object) -> list[str]:
    return [type(message).__name__ for message in said]  # type: ignore[attr-defined]


def only(end: End) -> IncomingCall:
    (call,) = end.running.values()
    return call


def test_each_end_opens_the_channel_before_it_says_anything_else() -> None:
    pair = Pair()
    pair.ask(pair.alice)
    assert kinds(pair.settle()) == ["ChannelOpened", "Call", "ChannelOpened"]


def test_a_call_is_a_frame_there_a_frame_back_and_nothing_left(pair: Pair) -> None:
    call = pair.ask(pair.alice)
    assert kinds(pair.settle()) == ["Call"]
    pair.bob.answer(only(pair.bob))
    assert kinds(pair.settle()) == ["Reply"]
    assert pair.alice.over == [call]
    assert call.reply == Verdict("yes")
    pair.alice.channel.leave(call)
    assert pair.settle() == []
    assert pair.alice.is_idle
    assert pair.bob.is_idle


def test_a_body_goes_in_chunks_and_its_credit_comes_back_when_the_handler_is_done(
    pair: Pair,
) -> None:
    call = pair.ask(pair.alice, bytes(BODY_CHUNK_BYTES + 1))
    assert kinds(pair.settle()) == ["Call", "Chunk", "Chunk"]
    pair.bob.answer(only(pair.bob), b"short")
    assert kinds(pair.settle()) == ["Credit", "Reply", "Chunk"]
    assert call.body is not None
    pair.alice.channel.leave(call)
    assert kinds(pair.settle()) == ["Credit"]
    assert pair.alice.is_idle
    assert pair.bob.is_idle


def test_credit_leaves_first_then_small_frames_then_bodies(pair: Pair) -> None:
    pair.ask(pair.alice, b"body")
    pair.settle()
    pair.ask(pair.bob, bytes(10))
    pair.bob.answer(only(pair.bob), b"reply")
    assert kinds(pair.settle()) == ["Credit", "Call", "Reply", "Chunk", "Chunk"]


def test_questions_and_replies_take_turns_with_their_bodies(pair: Pair) -> None:
    pair.ask(pair.alice, bytes(BODY_CHUNK_BYTES))
    pair.settle()
    pair.bob.answer(only(pair.bob), bytes(2 * BODY_CHUNK_BYTES))
    pair.ask(pair.bob, bytes(2 * BODY_CHUNK_BYTES))
    chunks = [one.kind for one in pair.settle() if isinstance(one, Chunk)]
    assert chunks in ([0, 1, 0, 1], [1, 0, 1, 0])


def test_a_question_whose_caller_left_before_it_was_sent_is_never_sent(pair: Pair) -> None:
    call = pair.ask(pair.alice, b"body")
    pair.alice.channel.leave(call)
    assert pair.settle() == []
    assert pair.alice.is_idle


def test_what_was_to_be_asked_is_forgotten_with_its_caller(pair: Pair) -> None:
    stays, *leave = (pair.ask(pair.alice) for _ in range(9))
    for call in leave:
        pair.alice.channel.leave(call)
        pair.alice.channel.check_invariants()
    assert kinds(pair.settle()) == ["Call"]
    assert list(pair.bob.running) == [stays.id]
    never = pair.ask(pair.bob)
    pair.bob.channel.leave(never)
    assert not pair.bob.channel.has_frames


def test_a_question_must_begin_to_leave_before_its_time_is_over(pair: Pair) -> None:
    pair.ask(pair.alice, timeout_s=3.0)
    assert pair.alice.channel.next_frame() == (
        encode(Call(1, 3000, 0, encode(Question("?")))),
        3.0,
    )


def test_who_leaves_a_call_that_was_sent_stops_its_handler(pair: Pair) -> None:
    call = pair.ask(pair.alice)
    pair.settle()
    pair.alice.channel.leave(call)
    assert pair.settle() == [Cancel(call.id)]
    assert pair.bob.stopped == [call.id]
    pair.bob.end(only(pair.bob))
    assert pair.settle() == []
    assert pair.bob.is_idle


def test_who_leaves_while_the_body_is_coming_has_the_rest_stay_there(pair: Pair) -> None:
    call = pair.ask(pair.alice, bytes(BODY_BYTES_MAX))
    pair.settle()
    pair.bob.answer(only(pair.bob), bytes(BODY_BYTES_MAX))
    while call.body is None or not call.body.received:
        pair.send(pair.bob)
        pair.deliver(pair.alice)
    pair.alice.channel.leave(call)
    chunks = [one for one in pair.settle() if isinstance(one, Chunk)]
    assert len(chunks) < BODY_BYTES_MAX // BODY_CHUNK_BYTES
    assert pair.alice.is_idle
    assert pair.bob.is_idle


def test_bodies_beyond_the_window_wait_until_there_is_credit_for_one_whole(pair: Pair) -> None:
    calls = [pair.ask(pair.alice, bytes(BODY_BYTES_MAX)) for _ in range(2)]
    pair.settle()
    assert list(pair.bob.running) == [calls[0].id]
    assert pair.alice.channel.bodies.window[BodyKind.REQUEST] == BODY_WINDOW_BYTES - BODY_BYTES_MAX
    pair.bob.answer(only(pair.bob))
    pair.settle()
    assert list(pair.bob.running) == [calls[1].id]


def test_a_handler_starts_when_there_is_room_for_its_reply(pair: Pair) -> None:
    for _ in range(3):
        pair.ask(pair.alice, bytes(BODY_BYTES_MAX // 2))
    pair.settle()
    first, second, third = pair.bob.running.values()
    assert {call.state for call in (first, second, third)} == {IncomingState.RUNNING}
    pair.bob.answer(first, bytes(BODY_BYTES_MAX))
    pair.bob.answer(second, bytes(BODY_BYTES_MAX))
    pair.ask(pair.alice, b"more")
    pair.send(pair.alice)
    pair.send(pair.alice)
    while pair.deliver(pair.bob):
        pass
    assert list(pair.bob.running) == [third.id]
    pair.settle()
    assert list(pair.bob.running) == [third.id, 4]


def test_who_waited_for_room_until_its_time_was_over_is_not_answered(pair: Pair) -> None:
    pair.ask(pair.alice, bytes(8))
    pair.settle()
    pair.bob.answer(only(pair.bob), bytes(BODY_BYTES_MAX))
    pair.bob.channel.bodies.queue(BodyKind.REPLY, 99, bytes(BODY_BYTES_MAX))
    late = pair.ask(pair.alice, bytes(8), timeout_s=1.0)
    while pair.send(pair.alice):
        pass
    while pair.deliver(pair.bob):
        pass
    assert pair.bob.running == {}
    assert len(pair.bob.channel.incoming) == 1
    pair.now_s = 2.0
    pair.bob.channel.bodies.abandon(BodyKind.REPLY, 99)
    pair.attend()
    assert len(pair.bob.channel.incoming) == 0
    assert late.state is OutgoingState.SENT


def test_with_too_many_calls_open_one_more_is_refused() -> None:
    pair = Pair(bounds=CallBounds(PeerId("bob"), RpcConfig(calls_inbound_max=2)))
    calls = [pair.ask(pair.alice) for _ in range(3)]
    said = pair.settle()
    assert list(pair.bob.running) == [1, 2]
    assert [one.code for one in said if isinstance(one, Refused)] == ["busy"]
    assert isinstance(calls[2].failure, RemoteRefusalError)


def test_who_needs_memory_has_it_of_whoever_holds_more() -> None:
    bounds = CallBounds(PeerId("bob"), RpcConfig(bodies_bytes_max=1000))
    greedy, modest = Pair(bounds=bounds), Pair()
    modest.ends = (End(PeerId("carol"), PeerId("bob")), End(PeerId("bob"), PeerId("carol"), bounds))
    modest.alice, modest.bob = modest.ends
    greedy.ask(greedy.alice, bytes(450))  # and as much for its reply
    greedy.settle()
    modest.ask(modest.alice, bytes(200))
    modest.settle()
    assert modest.bob.cut_off[0] == PeerId("alice")
    assert len(modest.bob.running) == 1


def test_nobody_gives_way_for_a_question_that_is_none() -> None:
    bounds = CallBounds(PeerId("bob"), RpcConfig(bodies_bytes_max=1000))
    greedy, mallory = Pair(bounds=bounds), End(PeerId("bob"), PeerId("mallory"), bounds)
    greedy.ask(greedy.alice, bytes(450))
    greedy.settle()
    mallory.channel.receive(ChannelOpened(1), mallory.peer, 0.0)
    with pytest.raises(WireError):
        mallory.channel.receive(Call(1, 1000, 200, encode(Question("?"))[:-1]), mallory.peer, 0.0)
    mallory.attend(0.0)
    assert mallory.cut_off == []


def test_a_peer_that_is_gone_fails_our_calls_and_stops_its_handlers(pair: Pair) -> None:
    ours = pair.ask(pair.bob, b"body")
    pair.ask(pair.alice)
    pair.settle()
    pair.bob.channel.close("gone")
    pair.bob.attend(0.0)
    assert pair.bob.over == [ours]
    assert isinstance(ours.failure, PeerUnreachableError)
    assert pair.bob.stopped == [only(pair.bob).id]
    assert pair.bob.channel.next_frame() is None
    pair.bob.channel.check_invariants()


def test_whoever_answers_or_leaves_after_the_peer_is_gone_sends_nothing(pair: Pair) -> None:
    ours = pair.ask(pair.bob, b"body")
    pair.ask(pair.alice, b"body")
    pair.settle()
    pair.bob.channel.close("gone")
    pair.bob.attend(0.0)
    pair.bob.answer(only(pair.bob), b"too late")
    pair.bob.channel.leave(ours)
    pair.bob.channel.receive(Cancel(ours.id), pair.bob.peer, 0.0)
    pair.bob.channel.check_invariants()
    assert pair.bob.channel.next_frame() is None
    assert pair.bob.channel.body_bytes == 0
    assert len(pair.bob.channel.incoming) == len(pair.bob.channel.outgoing) == 0


def test_before_the_peer_s_end_has_opened_nothing_of_an_older_one_counts() -> None:
    pair = Pair()
    pair.bob.channel.receive(Call(7, 1000, 0, encode(Question("?"))), pair.bob.peer, 0.0)
    pair.attend()
    assert pair.bob.running == {}
    pair.bob.channel.receive(ChannelOpened(5), pair.bob.peer, 0.0)
    pair.bob.channel.receive(ChannelOpened(5), pair.bob.peer, 0.0)
    pair.attend()
    assert pair.bob.anew == []
    pair.bob.channel.receive(ChannelOpened(6), pair.bob.peer, 0.0)
    pair.attend()
    assert pair.bob.anew == [6]


@pytest.mark.parametrize("answer", [Reply(1, 0, encode(Verdict("?"))), Refused(1, "no", "")])
def test_an_answer_to_what_was_not_asked_yet_is_an_error(pair: Pair, answer: ChannelFrame) -> None:
    pair.ask(pair.alice)
    with pytest.raises(WireError, match="was not sent"):
        pair.alice.channel.receive(answer, pair.alice.peer, 0.0)


def test_a_call_takes_the_steps_that_are_drawn_and_no_other(pair: Pair) -> None:
    ours = pair.ask(pair.alice)
    pair.settle()
    theirs = only(pair.bob)
    for state in OutgoingState:
        ours.state = state
        for to in OutgoingState:
            if to in OUTGOING_STEPS[state]:
                assert to > state, "there is no way back"
            else:
                with pytest.raises(RuntimeError, match="cannot go"):
                    ours.move(to)
    for before in IncomingState:
        theirs.state = before
        for after in IncomingState:
            if after in INCOMING_STEPS[before]:
                assert after > before, "there is no way back"
            else:
                with pytest.raises(RuntimeError, match="cannot go"):
                    theirs.move(after)


def test_a_reply_that_comes_a_second_time_changes_nothing(pair: Pair) -> None:
    call = pair.ask(pair.alice)
    pair.settle()
    frame = Reply(call.id, 0, encode(Verdict("first")))
    for reply in (frame, Reply(call.id, 0, encode(Verdict("second")))):
        pair.alice.channel.receive(reply, pair.alice.peer, 0.0)
    pair.attend()
    assert call.reply == Verdict("first")
    assert pair.alice.over == [call]


@pytest.mark.parametrize(
    "message",
    [
        Chunk(1, BodyKind.REQUEST, memoryview(b"")),
        Chunk(1, 2, memoryview(b"x")),
        Credit(2, 1),
        Credit(BodyKind.REPLY, 0),
        Credit(BodyKind.REPLY, 1),
        Call(7, 1000, -1, encode(Question("?"))),
        Call(7, 1000, BODY_BYTES_MAX + 1, encode(Question("?"))),
        Call(7, 1000, 0, encode(Question("?"))[:-1]),
        Reply(1, BODY_BYTES_MAX + 1, encode(Verdict("?"))),
        Reply(1, 0, encode(Question("?"))),
    ],
    ids=[
        "an empty chunk",
        "a chunk of no kind",
        "credit of no kind",
        "credit of nothing",
        "credit for what was never sent",
        "a body of less than nothing",
        "a body that is too long",
        "a question cut short",
        "an answer's body that is too long",
        "an answer of another kind",
    ],
)
def test_what_no_honest_peer_sends_is_an_error_of_its_connection(
    pair: Pair, message: ChannelFrame
) -> None:
    pair.ask(pair.alice)
    pair.send(pair.alice)
    with pytest.raises(WireError):
        pair.alice.channel.receive(message, pair.alice.peer, 0.0)


def test_nobody_who_was_not_admitted_is_answered(pair: Pair) -> None:
    with pytest.raises(WireError, match="not admitted"):
        pair.bob.channel.receive(Call(7, 1000, 0, encode(Question("?"))), None, 0.0)


def test_who_asks_on_and_takes_no_answer_is_cut_off(pair: Pair) -> None:
    def ask(call_id: int) -> None:
        call = Call(call_id, 1000, 0, encode(Verdict("nobody serves these")))
        pair.bob.channel.receive(call, pair.bob.peer, 0.0)

    for call_id in range(ANSWERS_WAITING_MAX):
        ask(call_id)
    with pytest.raises(WireError, match="takes no answers"):
        ask(ANSWERS_WAITING_MAX)


def test_whom_we_ask_much_may_ask_as_well(pair: Pair) -> None:
    for _ in range(ANSWERS_WAITING_MAX):
        pair.ask(pair.bob)
    pair.ask(pair.alice)
    assert pair.send(pair.alice)
    assert pair.deliver(pair.bob)
    assert len(pair.bob.running) == 1


def test_whom_we_tell_of_many_calls_that_were_left_may_ask_as_well(pair: Pair) -> None:
    calls = [pair.ask(pair.bob) for _ in range(ANSWERS_WAITING_MAX)]
    while pair.send(pair.bob):
        pass
    for call in calls:
        pair.bob.channel.leave(call)
    pair.ask(pair.alice)
    assert pair.send(pair.alice)
    assert pair.deliver(pair.bob)
    assert len(pair.bob.running) == 1
    said = kinds(pair.settle())
    assert said.count("Cancel") == ANSWERS_WAITING_MAX


def test_that_a_call_was_left_is_told_before_what_waits_already(pair: Pair) -> None:
    call = pair.ask(pair.alice)
    pair.settle()
    pair.ask(pair.alice)
    pair.alice.channel.leave(call)
    assert kinds(pair.settle()) == ["Cancel", "Call"]


def test_a_frame_that_is_none_is_an_error() -> None:
    with pytest.raises(WireError, match="no frame has the number"):
        decode_frame(encode(Question("?")))
