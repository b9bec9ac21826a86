"""What fits no message, said or answered: whoever brought what it is made of ends no node by it."""

import pytest
import trio

from p2p.errors import RemoteRefusalError, UnsayableError
from p2p.identity.caller import Caller
from p2p.wire.codec import Message
from testnet.sim.peers import rpc_peers
from testnet.sim.seeded import simulated
from tests.rpc_lab import BOB, NORMAL, Question, Verdict, ask, echo, is_clean


@simulated
async def test_a_reply_that_is_too_long_is_a_refusal_and_the_next_one_is_told() -> None:
    async def echo_at_length(
        _caller: Caller, question: Question, _body: bytes
    ) -> tuple[Message, bytes]:
        await trio.lowlevel.checkpoint()
        return Verdict(question.text * 70_000), b""

    async with rpc_peers(["alice", "bob"]) as peers:
        peers["bob"].serve(Question, echo_at_length)
        with pytest.raises(RemoteRefusalError, match="limit") as caught:
            await ask(peers, "x")
        assert caught.value.code == "too-long"
        assert await ask(peers, "") == (Verdict(""), b"")
        await trio.sleep(1)
        assert is_clean(peers)


class Count(Message, frozen=True, tag=233):
    """A number that somebody may have made up."""

    number: int


UNSAYABLE = [Question("x" * 70_000), Question("\ud800"), Count(2**64), Count(-(2**63) - 1)]


@pytest.mark.parametrize("request_", UNSAYABLE, ids=["long", "text", "high", "low"])
@simulated
async def test_a_question_that_fits_no_message_is_a_refusal_and_a_cast_is_dropped(
    request_: Message,
) -> None:
    async with rpc_peers(["alice", "bob"]) as peers:
        peers["bob"].serve(Question, echo)
        with pytest.raises(UnsayableError) as caught:
            await peers["alice"].call(BOB, request_, Verdict, traffic_class=NORMAL, timeout_s=9)
        assert isinstance(caught.value, RemoteRefusalError)
        assert caught.value.code == "too-long"
        peers["alice"].cast(BOB, request_)
        assert peers["alice"].stats().casts_dropped == 1
        assert (await ask(peers, "why"))[0] == Verdict("alice asked why")
        await trio.sleep(1)
        assert is_clean(peers)
