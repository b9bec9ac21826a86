"""Replies that fit no message: whoever brought what they are made of ends no node by it."""

import pytest
import trio

from p2p.errors import RemoteRefusalError
from p2p.identity.caller import Caller
from p2p.wire.codec import Message
from testnet.sim.peers import rpc_peers
from testnet.sim.seeded import simulated
from tests.rpc_lab import Question, Verdict, ask, is_clean


@simulated
async def test_a_reply_that_is_too_long_is_a_refusal_and_the_next_one_is_told() -> None:
    async def echo(_caller: Caller, question: Question, _body: bytes) -> tuple[Message, bytes]:
        await trio.lowlevel.checkpoint()
        return Verdict(question.text * 70_000), b""

    async with rpc_peers(["alice", "bob"]) as peers:
        peers["bob"].serve(Question, echo)
        with pytest.raises(RemoteRefusalError, match="limit") as caught:
            await ask(peers, "x")
        assert caught.value.code == "too-long"
        assert await ask(peers, "") == (Verdict(""), b"")
        await trio.sleep(1)
        assert is_clean(peers)
