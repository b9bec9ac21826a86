"""Alice asks, Bob answers: what the tests of RPC have in common."""

import trio
import trio.testing

from p2p.identity.caller import Caller
from p2p.ids import PeerId, TrafficClass
from p2p.wire.codec import Message
from testnet.sim.peers import Peers

ALICE, BOB = PeerId("alice"), PeerId("bob")
NORMAL, CONTROL = TrafficClass.NORMAL, TrafficClass.CONTROL


class Question(Message, frozen=True, tag=230):
    """Asked in these tests."""

    text: str


class Verdict(Message, frozen=True, tag=231):
    """Answered in these tests."""

    text: str


class Other(Message, frozen=True, tag=232):
    """Nobody serves it."""


async def echo(caller: Caller, question: Question, body: bytes) -> tuple[Message, bytes]:
    return Verdict(f"{caller.peer} asked {question.text}"), body[::-1]


def as_long(question: Question, body_len: int) -> int:
    return body_len


async def never(caller: Caller, question: Question, body: bytes) -> tuple[Message, bytes]:
    await trio.sleep_forever()
    raise AssertionError


async def ask(
    peers: Peers, text: str = "?", body: bytes = b"", timeout_s: float = 10.0
) -> tuple[Verdict, bytes]:
    return await peers["alice"].call(
        BOB, Question(text), Verdict, traffic_class=NORMAL, timeout_s=timeout_s, body=body
    )


def is_clean(peers: Peers) -> bool:
    for rpc in peers.rpcs.values():
        stats = rpc.stats()
        if stats.calls_out or stats.calls_in or stats.body_bytes_held or stats.credit_bytes_out:
            return False
    return True
