"""Calls whose frames come twice, as when a call is raced over two paths: run once, answered."""

import random
from collections.abc import Iterator
from functools import partial

import pytest
import trio
import trio.testing

from p2p.errors import RefusalError, RemoteRefusalError, WireError
from p2p.host.memory.host import MemoryHost
from p2p.host.rpc.answered import Answered
from p2p.host.rpc.bounds import RpcConfig
from p2p.host.rpc.messages import Call, ChannelOpened, Refused, Reply
from p2p.host.rpc.service import Rpc
from p2p.identity.caller import Caller
from p2p.ids import PeerId, TrafficClass
from p2p.limits import ANSWER_KEPT_BYTES_MAX, ANSWERS_KEPT_MAX
from p2p.wire.codec import Message, decode_as, encode, number_in, number_of
from testnet.sim.callers import machine_of
from testnet.sim.peers import Peers, rpc_peers
from testnet.sim.seeded import simulated

ALICE, BOB = PeerId("alice"), PeerId("bob")
INTERACTIVE = TrafficClass.INTERACTIVE
RACED = {number_of(kind) for kind in (Call, Reply, Refused)}


class Question(Message, frozen=True, tag=252):
    """Asked in these tests."""

    number: int


class Verdict(Message, frozen=True, tag=253):
    """Answered in these tests."""

    number: int
    text: str = ""


class TwoPaths(Rpc):
    """Hears what belongs to a call once more, some time later, by a slower path."""

    def __init__(self, host: MemoryHost, config: RpcConfig, *, lags_s: Iterator[float]) -> None:
        self._lags_s = lags_s
        super().__init__(host, config)

    def on_frame(self, peer: PeerId, traffic_class: TrafficClass, frame: bytes) -> None:
        """Take one frame, now and again."""
        super().on_frame(peer, traffic_class, frame)
        if number_in(frame) in RACED:
            trio.lowlevel.spawn_system_task(self._again, peer, traffic_class, frame)

    async def _again(self, peer: PeerId, traffic_class: TrafficClass, frame: bytes) -> None:
        await trio.sleep(next(self._lags_s))
        super().on_frame(peer, traffic_class, frame)


class Counting:
    """Bob's handler: takes its time, refuses every fifth, counts how often each is run."""

    def __init__(self, pause_s: float = 0.0, padding: str = "") -> None:
        self.runs: dict[int, int] = {}
        self._pause_s = pause_s
        self._padding = padding

    async def answer(
        self, _caller: Caller, question: Question, body: bytes
    ) -> tuple[Message, bytes]:
        self.runs[question.number] = self.runs.get(question.number, 0) + 1
        await trio.sleep(self._pause_s * (question.number % 3))
        if question.number % 5 == 4:
            raise RefusalError("fifth", "as every fifth")
        return Verdict(question.number, self._padding), body


async def ask(peers: Peers, number: int) -> str:
    try:
        verdict, _ = await peers["alice"].call(
            BOB, Question(number), Verdict, traffic_class=INTERACTIVE, timeout_s=10
        )
    except RemoteRefusalError as refusal:
        return refusal.code
    return f"verdict {verdict.number}"


class Recorder(Rpc):
    """Keeps what it is answered."""

    def __init__(self, host: MemoryHost, config: RpcConfig) -> None:
        self.answers: list[Reply | Refused] = []
        super().__init__(host, config)

    def on_frame(self, peer: PeerId, traffic_class: TrafficClass, frame: bytes) -> None:
        """Take one frame."""
        for kind in (Reply, Refused):
            if number_in(frame) == number_of(kind):
                answer = decode_as(kind, frame)
                assert isinstance(answer, Reply | Refused)
                self.answers.append(answer)


def recorder_for_alice(host: MemoryHost, config: RpcConfig) -> Rpc:
    return (Recorder if host.peer_id == ALICE else Rpc)(host, config)


def hears(bob: Rpc, message: Message) -> None:
    bob.on_frame(ALICE, INTERACTIVE, encode(message))


def call(call_id: int, number: int, body_len: int = 0) -> Call:
    return Call(call_id, 10_000, body_len, encode(Question(number)))


@pytest.mark.parametrize("lag_s", [0.0, 0.002, 0.5])
@simulated
async def test_a_call_whose_frames_all_come_twice_runs_once_and_is_answered(lag_s: float) -> None:
    dice = random.Random(7)
    lags_s = iter(lambda: lag_s * dice.random(), None)
    async with rpc_peers(["alice", "bob"], make=partial(TwoPaths, lags_s=lags_s)) as peers:
        counting = Counting(pause_s=0.001)
        peers["bob"].serve(Question, counting.answer)
        answers: dict[int, str] = {}

        async def one(number: int) -> None:
            answers[number] = await ask(peers, number)

        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(one, number)
        await trio.sleep(2)
        assert counting.runs == dict.fromkeys(range(200), 1)
        assert answers == {n: "fifth" if n % 5 == 4 else f"verdict {n}" for n in range(200)}
        assert not peers["alice"].stats().calls_out
        assert not peers["bob"].stats().calls_in


@simulated
async def test_a_call_that_comes_again_gets_the_answer_it_had_or_is_told_that_it_is_gone() -> None:
    async with rpc_peers(["alice", "bob"], make=recorder_for_alice) as peers:
        alice, bob, counting = peers["alice"], peers["bob"], Counting()
        assert isinstance(alice, Recorder)
        bob.serve(Question, counting.answer)
        bob.on_up(machine_of(ALICE))
        hears(bob, ChannelOpened(1))
        for number in range(ANSWERS_KEPT_MAX + 2):
            hears(bob, call(100 + number, number))
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(1)
        first = {answer.id: answer for answer in alice.answers}
        alice.answers.clear()
        for number in (ANSWERS_KEPT_MAX + 1, ANSWERS_KEPT_MAX - 1, 4, 1, 0):
            hears(bob, call(100 + number, number))
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(1)
        newest, other, refused, *forgotten = alice.answers
        assert newest == first[100 + ANSWERS_KEPT_MAX + 1]
        assert other == first[100 + ANSWERS_KEPT_MAX - 1]
        assert refused == first[104]
        assert isinstance(refused, Refused)
        for answer in forgotten:
            assert isinstance(answer, Refused)
            assert answer.code == "repeated"
        assert set(counting.runs.values()) == {1}


@simulated
async def test_a_call_with_a_body_may_not_come_twice() -> None:
    async with rpc_peers(["alice", "bob"], make=recorder_for_alice) as peers:
        bob = peers["bob"]
        bob.serve(Question, Counting().answer)
        bob.on_up(machine_of(ALICE))
        hears(bob, ChannelOpened(1))
        hears(bob, call(1, 1, body_len=5000))
        with pytest.raises(WireError, match="twice"):
            hears(bob, call(1, 1, body_len=5000))


def test_answers_are_kept_within_bounds_and_ids_for_ever() -> None:
    answered = Answered()
    for call_id in range(10 * ANSWERS_KEPT_MAX):
        answered.add(call_id, bytes(ANSWER_KEPT_BYTES_MAX + call_id % 2))
    kept = [n for n in range(10 * ANSWERS_KEPT_MAX) if answered.answer_to(n) is not None]
    assert kept == list(range(9 * ANSWERS_KEPT_MAX, 10 * ANSWERS_KEPT_MAX, 2))
    assert all(n in answered for n in range(10 * ANSWERS_KEPT_MAX))
    assert 10 * ANSWERS_KEPT_MAX not in answered
