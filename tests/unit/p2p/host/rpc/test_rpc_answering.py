"""Calls as the side that answers sees them: bounds, deadlines, cancelled and lost callers."""

import pytest
import trio
import trio.testing

from p2p.errors import (
    CallTimeoutError,
    PeerUnreachableError,
    RefusalError,
    RemoteRefusalError,
    WireError,
)
from p2p.host.memory.network import LinkModel
from p2p.host.rpc.bounds import RpcConfig
from p2p.host.rpc.messages import Call, ChannelOpened
from p2p.identity.caller import Caller
from p2p.ids import PeerId
from p2p.limits import (
    ANSWERS_WAITING_MAX,
    BODY_BYTES_MAX,
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
    ask,
    echo,
    is_clean,
    never,
)


@simulated
async def test_no_handler_starts_before_there_is_room_for_its_reply() -> None:
    """However many ask at once; small questions do not wait for it."""
    async with rpc_peers(["alice", "bob"], LinkModel(bytes_per_s=1e6)) as peers:
        begun = 0

        async def large(caller: Caller, question: Question, body: bytes) -> tuple[Message, bytes]:
            nonlocal begun
            begun += 1
            await trio.sleep(0.1)
            return Verdict(""), bytes(BODY_BYTES_MAX if question.text == "large" else 0)

        peers["bob"].serve(
            Question, large, lambda asked, _: BODY_BYTES_MAX if asked.text == "large" else 0
        )
        with trio.move_on_after(6):
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(ask, peers, "large", b"", 600.0)
                await trio.sleep(1)
                assert begun == 2
                await ask(peers, "small", timeout_s=1.0)
                await trio.sleep(3)
                assert begun == 3
        await trio.sleep(30)
        assert is_clean(peers)


@simulated
async def test_a_call_that_waits_for_room_is_forgotten_when_it_is_cancelled_or_too_late() -> None:
    async with rpc_peers(["alice", "bob"], LinkModel(bytes_per_s=1e6)) as peers:
        texts: list[str] = []

        async def large(caller: Caller, question: Question, body: bytes) -> tuple[Message, bytes]:
            texts.append(question.text)
            await trio.sleep(0.1)
            return Verdict(question.text), bytes(BODY_BYTES_MAX)

        peers["bob"].serve(Question, large, lambda *_: BODY_BYTES_MAX)
        async with trio.open_nursery() as nursery:
            for text in ("1", "2"):
                nursery.start_soon(ask, peers, text, b"", 600.0)
            await trio.sleep(1)
            with trio.move_on_after(1):
                await ask(peers, "cancelled", bytes(1_000_000), timeout_s=600)
            with pytest.raises(CallTimeoutError):
                await ask(peers, "late", timeout_s=1.0)
            assert (await ask(peers, "3", timeout_s=600))[0].text == "3"
        assert sorted(texts) == ["1", "2", "3"]
        await trio.sleep(1)
        assert is_clean(peers)


@simulated
async def test_a_reply_longer_than_its_kind_promises_is_a_bug_of_the_handler() -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="promised"), flatten_subgroups=True):
        async with rpc_peers(["alice", "bob"]) as peers:
            peers["bob"].serve(Question, echo)
            await ask(peers, body=b"body")


@simulated
async def test_a_call_times_out_and_its_handler_is_cancelled_at_the_deadline() -> None:
    async with rpc_peers(["alice", "bob"]) as peers:
        ended: list[float] = []

        async def stuck(caller: Caller, question: Question, body: bytes) -> tuple[Message, bytes]:
            try:
                await trio.sleep_forever()
            finally:
                ended.append(trio.current_time())
            raise AssertionError

        peers["bob"].serve(Question, stuck)
        start_s = trio.current_time()
        with pytest.raises(CallTimeoutError, match="Question to bob"):
            await ask(peers, timeout_s=3.0)
        assert trio.current_time() - start_s == pytest.approx(3.0)
        peers.network.cut([ALICE], [BOB])  # its Cancel never comes: the deadline travelled along
        with trio.fail_after(5), pytest.raises(CallTimeoutError):
            await ask(peers, timeout_s=1.0)
        await trio.sleep(1)
        assert len(ended) == 1
        assert ended[0] - start_s < 3.1


@simulated
async def test_cancelling_a_call_cancels_its_handler_and_frees_its_body() -> None:
    async with rpc_peers(["alice", "bob"]) as peers:
        peers["bob"].serve(Question, never)
        with trio.move_on_after(1) as scope:
            await ask(peers, body=bytes(1_000_000), timeout_s=100)
        assert scope.cancelled_caught
        await trio.sleep(0.1)
        assert is_clean(peers)


@simulated
async def test_refusals_carry_code_and_detail() -> None:
    async with rpc_peers(["alice", "bob"]) as peers:

        async def refuse(caller: Caller, question: Question, body: bytes) -> tuple[Message, bytes]:
            raise RefusalError("quota", "no space for you " + "x" * 1000)

        peers["bob"].serve(Question, refuse)
        with pytest.raises(RemoteRefusalError, match="no space") as caught:
            await ask(peers, body=bytes(300_000))
        assert (caught.value.code, caught.value.peer) == ("quota", BOB)
        assert len(caught.value.detail) == 300
        with pytest.raises(RemoteRefusalError) as caught:
            await peers["alice"].call(
                BOB, Other(), Verdict, traffic_class=NORMAL, timeout_s=1, body=bytes(300_000)
            )
        assert caught.value.code == "unknown"
        await trio.sleep(1)
        assert is_clean(peers)


@simulated
async def test_calls_beyond_the_limit_are_refused_as_busy() -> None:
    async with rpc_peers(["alice", "bob"], config=RpcConfig(calls_inbound_max=2)) as peers:
        peers["bob"].serve(Question, never)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, peers)
            nursery.start_soon(ask, peers)
            await trio.sleep(1)
            with pytest.raises(RemoteRefusalError, match="busy"):
                await ask(peers)
            nursery.cancel_scope.cancel()


@simulated
async def test_an_error_in_a_handler_ends_the_node() -> None:
    async def buggy(caller: Caller, question: Question, body: bytes) -> tuple[Message, bytes]:
        raise KeyError("a bug")

    with pytest.RaisesGroup(pytest.RaisesExc(KeyError), flatten_subgroups=True):
        async with rpc_peers(["alice", "bob"]) as peers:
            peers["bob"].serve(Question, buggy)
            await ask(peers)


@simulated
async def test_losing_the_peer_fails_its_calls_at_once_and_cancels_their_handlers() -> None:
    async with rpc_peers(["alice", "bob"]) as peers:
        ups: list[tuple[PeerId, bool]] = []
        peers["alice"].on_peer(lambda peer, is_up: ups.append((peer, is_up)))
        peers["bob"].serve(Question, never)
        start_s = trio.current_time()
        async with trio.open_nursery() as nursery:

            async def expect_failure() -> None:
                with pytest.raises(PeerUnreachableError):
                    await ask(peers, body=bytes(1_000_000), timeout_s=100)

            nursery.start_soon(expect_failure)
            await trio.sleep(1)
            peers.network.break_connection(ALICE, BOB)
        assert trio.current_time() - start_s == pytest.approx(1.0)
        assert ups == [(BOB, True), (BOB, False)]
        await trio.sleep(1)
        assert is_clean(peers)


@simulated
async def test_the_handlers_of_a_lost_peer_end_a_few_in_each_turn() -> None:
    """Hundreds at once would hold up everybody else."""
    async with rpc_peers(["alice", "bob"]) as peers:
        ended = 0

        async def wait(caller: Caller, question: Question, body: bytes) -> tuple[Message, bytes]:
            nonlocal ended
            try:
                await trio.sleep_forever()
            finally:
                ended += 1
            raise AssertionError

        async def give_up() -> None:
            with pytest.raises(PeerUnreachableError):
                await ask(peers, timeout_s=600)

        peers["bob"].serve(Question, wait)
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(give_up)
            await trio.sleep(1)
            peers.network.break_connection(ALICE, BOB)
            most, before = 0, 0
            while ended < 200:
                await trio.lowlevel.checkpoint()
                most, before = max(most, ended - before), ended
        assert most <= 20


@simulated
async def test_a_peer_that_asks_on_and_takes_no_answers_breaks_the_protocol() -> None:
    async with rpc_peers(["alice", "bob"]) as peers:
        bob = peers["bob"]
        bob.on_up(machine_of(ALICE))
        bob.on_frame(ALICE, NORMAL, encode(ChannelOpened(1)))
        unknown = encode(Call(1, 1000, 0, encode(Other())))
        for _ in range(ANSWERS_WAITING_MAX):
            bob.on_frame(ALICE, NORMAL, unknown)
        with pytest.raises(WireError, match="takes no answers"):
            bob.on_frame(ALICE, NORMAL, unknown)
