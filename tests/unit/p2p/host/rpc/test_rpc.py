"""Calls, casts and bodies over a network in memory, on virtual time."""

from functools import partial
from random import Random

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from p2p.errors import (
    PeerUnreachableError,
    UnsayableError,
    WireError,
)
from p2p.host.memory.host import MemoryHost
from p2p.host.memory.network import LinkModel, MemoryNetwork
from p2p.host.rpc.messages import Call, Cast, ChannelOpened, Chunk, Credit, Reply
from p2p.host.rpc.payloads import packed
from p2p.host.rpc.service import Rpc
from p2p.identity.caller import Caller
from p2p.ids import LabId, PeerId
from p2p.limits import (
    BODY_BYTES_MAX,
    BODY_WINDOW_BYTES,
    PAYLOAD_BYTES_MAX,
)
from p2p.wire.codec import Message, encode
from testnet.sim.callers import machine_of
from testnet.sim.peers import rpc_peers
from testnet.sim.seeded import simulated
from tests.rpc_lab import (
    ALICE,
    BOB,
    NORMAL,
    Other,
    Question,
    Verdict,
    as_long,
    ask,
    echo,
    is_clean,
    never,
)


@simulated
async def test_a_call_is_answered_with_message_and_body() -> None:
    async with rpc_peers(["alice", "bob"]) as peers:
        peers["bob"].serve(Question, echo, as_long)
        assert await ask(peers, "why", b"abc") == (Verdict("alice asked why"), b"cba")
        await trio.sleep(1)
        assert is_clean(peers)


@simulated
async def test_a_body_of_the_largest_size_arrives_whole_and_one_more_byte_is_refused_here() -> None:
    async with rpc_peers(["alice", "bob"]) as peers:
        peers["bob"].serve(Question, echo, as_long)
        body = bytes(range(256)) * (BODY_BYTES_MAX // 256)
        assert (await ask(peers, body=body))[1] == body[::-1]
        with pytest.raises(UnsayableError, match="limit"):
            await ask(peers, body=body + b"x")
        await trio.sleep(1)
        assert is_clean(peers)


@simulated
async def test_casts_arrive_in_order_and_small_calls_overtake_a_body() -> None:
    async with rpc_peers(["alice", "bob"], LinkModel(bytes_per_s=1e6)) as peers:
        order: list[str] = []
        peers["bob"].listen(Other, lambda peer, message: order.append("cast"))

        async def note(caller: Caller, question: Question, body: bytes) -> tuple[Message, bytes]:
            order.append(question.text)
            return Verdict(""), b""

        peers["bob"].serve(Question, note)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, peers, "large", bytes(4_000_000))
            await trio.sleep(0.5)
            peers["alice"].cast(BOB, Other(), NORMAL)
            nursery.start_soon(ask, peers, "small")
        assert order == ["cast", "small", "large"]


@simulated
async def test_bodies_wait_for_credit_until_a_handler_has_finished() -> None:
    async with rpc_peers(["alice", "bob"]) as peers:
        go = trio.Event()
        begun = 0

        async def slow(caller: Caller, question: Question, body: bytes) -> tuple[Message, bytes]:
            nonlocal begun
            begun += 1
            await go.wait()
            return Verdict(""), b""

        peers["bob"].serve(Question, slow)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask, peers, "?", bytes(BODY_WINDOW_BYTES // 2 - 1), 60.0)
            await trio.sleep(5)
            assert begun == 2
            assert peers["bob"].stats().body_bytes_held == BODY_WINDOW_BYTES - 2
            go.set()
        await trio.sleep(1)
        assert begun == 5
        assert is_clean(peers)


@simulated
async def test_replies_leave_while_requests_fill_the_window_in_both_directions() -> None:
    async with rpc_peers(["alice", "bob"]) as peers:
        for name in ("alice", "bob"):
            peers[name].serve(Question, echo, as_long)

        async def call(caller: str, callee: PeerId) -> None:
            body = bytes(BODY_WINDOW_BYTES // 2)
            await peers[caller].call(
                callee, Question("?"), Verdict, traffic_class=NORMAL, timeout_s=60, body=body
            )

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(call, "alice", BOB)
                    nursery.start_soon(call, "bob", ALICE)
        await trio.sleep(1)
        assert is_clean(peers)


@simulated
async def test_a_call_cancelled_before_it_was_sent_is_never_sent() -> None:
    async with rpc_peers(["alice", "bob"]) as peers:
        peers["bob"].serve(Question, echo, as_long)
        with trio.move_on_after(0.001):  # still dialling
            await ask(peers)
        before = peers.network.frames_delivered
        await trio.sleep(1)
        assert peers.network.frames_delivered - before == 2  # an Opened each way
        assert is_clean(peers)


@simulated
async def test_an_unknown_peer_is_unreachable() -> None:
    async with rpc_peers(["alice", "bob"]) as peers:
        with pytest.raises(PeerUnreachableError):
            await peers["alice"].call(
                PeerId("carol"), Other(), Verdict, traffic_class=NORMAL, timeout_s=5
            )


@simulated
async def test_we_can_call_and_cast_to_ourselves() -> None:
    async with rpc_peers(["alice"]) as peers:
        alice = peers["alice"]
        heard: list[str] = []
        alice.serve(Question, echo, as_long)
        alice.listen(Question, lambda peer, question: heard.append(question.text))
        alice.cast(ALICE, Question("1"))
        alice.cast(ALICE, Question("2"))
        assert heard == []
        body = bytes(1_000_000)
        reply = await alice.call(
            ALICE, Question("me"), Verdict, traffic_class=NORMAL, timeout_s=1, body=body
        )
        assert reply == (Verdict("alice asked me"), body)
        assert heard == ["1", "2"]
        await trio.testing.wait_all_tasks_blocked()
        assert is_clean(peers)


@simulated
async def test_a_peer_that_started_anew_unnoticed_is_answered_again() -> None:
    """One side sees the connection end, the other never does: nothing may hang or leak."""
    async with rpc_peers(["alice", "bob"]) as peers:
        peers["bob"].serve(Question, echo, as_long)
        peers["alice"].serve(Question, never)
        assert (await ask(peers, "1"))[0].text == "alice asked 1"
        async with trio.open_nursery() as nursery:

            async def call_alice() -> None:
                with pytest.raises(PeerUnreachableError, match="anew"):
                    await peers["bob"].call(
                        ALICE,
                        Question("?"),
                        Verdict,
                        traffic_class=NORMAL,
                        timeout_s=60,
                        body=bytes(BODY_BYTES_MAX),
                    )

            nursery.start_soon(call_alice)
            await trio.sleep(1)
            peers["alice"].on_down(BOB, "only alice noticed")
            assert (await ask(peers, "2"))[0].text == "alice asked 2"
        await trio.sleep(1)
        assert is_clean(peers)


@simulated
async def test_a_side_that_did_not_notice_learns_it_from_its_first_call() -> None:
    async with rpc_peers(["alice", "bob"]) as peers:
        peers["bob"].serve(Question, echo, as_long)
        await ask(peers)
        peers["bob"].on_down(ALICE, "only bob noticed")
        peers["bob"].on_up(machine_of(ALICE))
        with trio.fail_after(1), pytest.raises(PeerUnreachableError, match="anew"):
            await ask(peers)
        assert (await ask(peers, "again"))[0].text == "alice asked again"


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xff" * 10,
        encode(Question("not a frame")),
        encode(Cast(encode(Question("x"))[:-1])),
        encode(Call(1, 1000, 0, b"\x92\xcc\xe6\x01")),
        encode(Call(1, 1000, BODY_BYTES_MAX + 1, encode(Question("x")))),
        encode(Call(1, 1000, -1, encode(Question("x")))),
        encode(Chunk(1, 0, memoryview(b""))),
        encode(Chunk(1, 2, memoryview(b"x"))),
        encode(Credit(0, 1)),
        encode(Credit(0, -5)),
        encode(Call(1, 1000, 0, bytes(PAYLOAD_BYTES_MAX + 100))),
    ],
)
@simulated
async def test_a_bad_frame_is_a_wire_error(frame: bytes) -> None:
    async with rpc_peers(["alice", "bob"]) as peers:
        peers["bob"].serve(Question, echo, as_long)
        peers["bob"].listen(Question, lambda peer, message: None)
        peers["bob"].on_up(machine_of(ALICE))
        peers["bob"].on_frame(ALICE, NORMAL, encode(ChannelOpened(1)))
        with pytest.raises(WireError):
            peers["bob"].on_frame(ALICE, NORMAL, frame)


@simulated
async def test_dribbled_bodies_and_bodies_without_credit_are_wire_errors() -> None:
    async with rpc_peers(["alice", "bob"]) as peers:
        bob = peers["bob"]
        bob.serve(Question, never)
        bob.on_up(machine_of(ALICE))
        bob.on_frame(ALICE, NORMAL, encode(ChannelOpened(1)))
        bob.on_frame(ALICE, NORMAL, encode(Call(1, 1000, 10_000, encode(Question("x")))))
        with pytest.raises(WireError, match="middle"):
            bob.on_frame(ALICE, NORMAL, encode(Chunk(1, 0, memoryview(b"x"))))
        chunk = memoryview(bytes(1_000_000))
        for call in (2, 3, 4):
            question = Call(call, 1000, BODY_BYTES_MAX, encode(Question("x")))
            bob.on_frame(ALICE, NORMAL, encode(question))
        for call in [2] * 8 + [3] * 8:
            bob.on_frame(ALICE, NORMAL, encode(Chunk(call, 0, chunk)))
        with pytest.raises(WireError, match="without credit"):
            bob.on_frame(ALICE, NORMAL, encode(Chunk(4, 0, chunk)))


@simulated
async def test_handlers_are_told_who_asks_and_ourselves_from_others() -> None:
    async with rpc_peers(["alice", "bob"], of_lab=LabId("physics")) as peers:
        heard: list[Caller] = []

        async def who(caller: Caller, question: Question, body: bytes) -> tuple[Message, bytes]:
            heard.append(caller)
            return Verdict(caller.lab), b""

        peers["bob"].serve(Question, who)
        peers["bob"].listen(Other, lambda caller, message: heard.append(caller))
        assert (await ask(peers))[0] == Verdict("physics")
        peers["alice"].cast(BOB, Other())
        peers["bob"].cast(BOB, Other())
        await peers["bob"].call(BOB, Question("me"), Verdict, traffic_class=NORMAL, timeout_s=1)
        await trio.sleep(1)
        alice, bob = machine_of(ALICE, LabId("physics")), machine_of(BOB, LabId("physics"))
        me = replace(bob, is_me=True)
        assert (len(heard), heard.count(alice), heard.count(me)) == (4, 2, 2)
        assert peers["bob"].me == me


@simulated
async def test_a_frame_of_a_peer_that_was_not_admitted_is_a_wire_error() -> None:
    async with rpc_peers(["alice", "bob"]) as peers:
        peers["bob"].serve(Question, never)
        peers["bob"].listen(Other, lambda caller, message: None)
        with pytest.raises(WireError, match="not admitted"):
            peers["bob"].on_frame(ALICE, NORMAL, encode(Cast(encode(Other()))))
        peers["bob"].on_frame(ALICE, NORMAL, encode(ChannelOpened(1)))
        with pytest.raises(WireError, match="not admitted"):
            peers["bob"].on_frame(ALICE, NORMAL, encode(Call(1, 1000, 0, encode(Question("x")))))


@simulated
async def test_a_reply_of_another_type_closes_the_connection() -> None:
    async with rpc_peers(["alice", "bob"]) as peers:

        async def wrong(caller: Caller, question: Question, body: bytes) -> tuple[Message, bytes]:
            return Reply(1, 2, b""), b""

        peers["bob"].serve(Question, wrong)
        with pytest.raises(PeerUnreachableError):
            await ask(peers)


@simulated
async def test_casts_nobody_listens_to_are_counted_and_too_large_ones_dropped_here() -> None:
    async with rpc_peers(["alice", "bob"]) as peers:
        peers["alice"].cast(BOB, Other())
        await trio.sleep(1)
        assert peers["bob"].stats().casts_unknown == 1
        peers["alice"].cast(BOB, Question("x" * 100_000))
        assert peers["alice"].stats().casts_dropped == 1
        peers["bob"].listen(Other, lambda peer, message: None)
        with pytest.raises(ValueError, match="listener already"):
            peers["bob"].listen(Other, lambda peer, message: None)


@simulated
async def test_when_the_node_stops_calls_and_frames_that_come_late_break_nothing() -> None:
    rpc = Rpc(MemoryHost(MemoryNetwork(Random(0)), ALICE, machine_of(ALICE)))
    rpc.serve(Question, never)
    late = partial(rpc.call, traffic_class=NORMAL, timeout_s=1)
    with trio.CancelScope() as node:
        async with trio.open_nursery() as nursery:
            await nursery.start(rpc.run)
            rpc.on_up(machine_of(BOB))
            rpc.on_frame(BOB, NORMAL, encode(ChannelOpened(7)))
            rpc.on_frame(BOB, NORMAL, encode(Call(1, 1000, 0, packed(Question("why")))))
            node.cancel()
            nursery.start_soon(late, BOB, Question("just now"), Verdict)
    with pytest.raises(PeerUnreachableError, match="this node stops"):
        await late(BOB, Question("later"), Verdict)
    rpc.on_frame(BOB, NORMAL, encode(ChannelOpened(8)))
    rpc.on_down(BOB, "gone")
