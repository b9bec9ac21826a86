"""Calls over real sockets: bodies, deadlines, and callers that give up."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio

from p2p.errors import CallTimeoutError, RefusalError, RemoteRefusalError
from p2p.host.libp2p.host import HostConfig
from p2p.host.rpc.service import Rpc
from p2p.identity.caller import Caller
from p2p.ids import TrafficClass
from p2p.limits import BODY_BYTES_MAX, CALLS_INBOUND_MAX
from p2p.wire.codec import Message
from testnet.lone_peer import Ask, Told, lone_host

NORMAL, CONTROL = TrafficClass.NORMAL, TrafficClass.CONTROL


class Refuse(Message, frozen=True, tag=236):
    """Always refused."""


@dataclass
class Served:
    """What Bob's handlers are doing."""

    running: int = 0
    begun: int = 0


@dataclass
class Pair:
    """Alice asks, Bob answers."""

    alice: Rpc
    bob: Rpc
    served: Served

    async def ask(
        self,
        *,
        body: bytes = b"",
        reply_bytes: int = 0,
        wait_s: float = 0.0,
        timeout_s: float = 30.0,
        traffic_class: TrafficClass = NORMAL,
    ) -> tuple[Told, bytes]:
        return await self.alice.call(
            self.bob.peer_id,
            Ask("?", reply_bytes, wait_s),
            Told,
            traffic_class=traffic_class,
            timeout_s=timeout_s,
            body=body,
        )

    async def bob_is_idle(self) -> None:
        """Ask until nothing but that is under way: an answer follows earlier cancellations."""
        await self.ask()
        while self.served.running or self.bob.stats().calls_in:
            await self.ask()


@asynccontextmanager
async def talking(config: HostConfig | None = None) -> AsyncIterator[Pair]:
    served = Served()

    async def answer(caller: Caller, ask: Ask, body: bytes) -> tuple[Message, bytes]:
        served.begun += 1
        served.running += 1
        try:
            await trio.sleep(ask.wait_s)
        finally:
            served.running -= 1
        return Told(ask.text, len(body)), bytes(ask.reply_bytes) if ask.reply_bytes else body[::-1]

    async def refuse(caller: Caller, ask: Refuse, body: bytes) -> tuple[Message, bytes]:
        raise RefusalError("never", "nobody asks that")

    hosts = [lone_host(name, config=config) for name in ("alice", "bob")]
    pair = Pair(Rpc(hosts[0]), Rpc(hosts[1]), served)
    pair.bob.serve(Ask, answer, lambda _, body_len: body_len)
    pair.bob.serve(Refuse, refuse)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for rpc in (pair.alice, pair.bob):
                await nursery.start(rpc.run)
            for host in hosts:
                await nursery.start(host.run)
            await hosts[0].dial(hosts[1].addresses()[0])
            yield pair
            nursery.cancel_scope.cancel()


async def test_a_call_is_answered_and_a_refusal_says_why() -> None:
    async with talking() as pair:
        told, body = await pair.ask(body=b"abc")
        assert (told, body) == (Told("?", 3), b"cba")
        with pytest.raises(RemoteRefusalError, match="nobody asks that"):
            await pair.alice.call(
                pair.bob.peer_id, Refuse(), Told, traffic_class=NORMAL, timeout_s=5
            )


async def test_the_largest_bodies_go_both_ways_at_once() -> None:
    body = bytes(range(256)) * (BODY_BYTES_MAX // 256)
    async with talking() as pair:

        async def one() -> None:
            told, back = await pair.ask(body=body)
            assert told.got_bytes == len(body) == BODY_BYTES_MAX
            assert back == body[::-1]

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(one)
        await pair.bob_is_idle()
        assert pair.alice.stats().body_bytes_held == pair.bob.stats().body_bytes_held == 0


async def test_small_calls_are_not_stuck_behind_large_bodies() -> None:
    async with talking() as pair:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(ask_for_much, pair)
            for _ in range(50):
                with trio.fail_after(5):
                    await pair.ask(traffic_class=CONTROL)
            nursery.cancel_scope.cancel()
        await pair.bob_is_idle()


async def ask_for_much(pair: Pair) -> None:
    for _ in range(20):
        await pair.ask(reply_bytes=BODY_BYTES_MAX, body=bytes(BODY_BYTES_MAX))


async def test_thousands_of_callers_that_give_up_do_not_harm_the_connection() -> None:
    async with talking() as pair:
        ups: list[bool] = []
        pair.alice.on_peer(lambda peer, is_up: ups.append(is_up))

        async def give_up(number: int) -> None:
            with trio.move_on_after(0.0005 * (number % 17)):
                size = (0, 100, 300_000)[number % 3]
                await pair.ask(body=bytes(size), reply_bytes=size, wait_s=0.001 * (number % 5))

        async def give_up_often(worker: int) -> None:
            for turn in range(200):
                await give_up(worker + turn)

        async with trio.open_nursery() as nursery:
            for worker in range(16):
                nursery.start_soon(give_up_often, worker)
        await pair.bob_is_idle()
        assert ups == []
        told, _ = await pair.ask(body=b"still here")
        assert told.got_bytes == 10
        for stats in (pair.alice.stats(), pair.bob.stats()):
            assert (stats.calls_out, stats.calls_in, stats.body_bytes_held) == (0, 0, 0)


async def test_a_deadline_ends_the_call_here_and_the_handler_there() -> None:
    async with talking() as pair:
        await pair.ask()
        before_s = trio.current_time()
        with pytest.raises(CallTimeoutError):
            await pair.ask(wait_s=60, timeout_s=0.2)
        assert trio.current_time() - before_s < 5
        await pair.bob_is_idle()


async def test_more_calls_than_allowed_are_refused_and_the_rest_answered() -> None:
    async with talking() as pair:
        busy = 0

        async def one() -> None:
            nonlocal busy
            try:
                await pair.ask(wait_s=0.5)
            except RemoteRefusalError as error:
                busy += error.code == "busy"

        async with trio.open_nursery() as nursery:
            for _ in range(CALLS_INBOUND_MAX + 20):
                nursery.start_soon(one)
        assert busy == 20
        assert pair.served.begun == CALLS_INBOUND_MAX
