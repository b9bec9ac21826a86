"""Bytes through a relay: within a rate, in order, held back by slow readers, ended as they were."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
from trio.testing import MockClock

from p2p.errors import StreamResetError
from p2p.host.relay.limits import CIRCUIT_BULK_WINDOW_BYTES, CIRCUIT_WINDOW_BYTES
from p2p.host.relay.relayed_stream import RelayedStream
from p2p.host.relay.rules import Circuit
from p2p.host.relay.splice import RateCap, splice
from p2p.ids import PeerId
from p2p.limits import LINK_OUTPUT_BYTES_MAX
from p2p.link.connection import Connection
from p2p.link.stream import LinkStream
from tests.unit.p2p.link.test_connection import linked

KIB = 1024


@dataclass
class Spliced:
    """A circuit from alice to bob, by rita."""

    alice: LinkStream
    bob: LinkStream
    at_rita: tuple[Connection, Connection]
    circuit: Circuit
    over: trio.Event


@asynccontextmanager
async def spliced(rate: float = 0, *, is_bulk: bool = False) -> AsyncIterator[Spliced]:
    window = CIRCUIT_BULK_WINDOW_BYTES if is_bulk else CIRCUIT_WINDOW_BYTES
    async with linked() as (alice, near), linked() as (far, bob):
        opened = alice.open_stream()
        taken = await near.accept_stream()
        taken.limit_window(window)
        offered = far.open_stream(window)
        at_bob = await bob.accept_stream()
        circuit, over = Circuit(PeerId("alice"), PeerId("bob"), is_bulk), trio.Event()

        async def carry() -> None:
            await splice(circuit, taken, offered, RateCap(rate))
            over.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry)
            yield Spliced(opened, at_bob, (near, far), circuit, over)
            nursery.cancel_scope.cancel()


async def read_all(stream: LinkStream) -> bytes:
    data = b""
    while piece := await stream.read():
        data += piece
    return data


async def test_bytes_arrive_both_ways_and_each_way_has_its_own_end() -> None:
    async with spliced() as it:
        await it.alice.write(b"question")
        it.alice.finish()
        assert await read_all(it.bob) == b"question"
        await it.bob.write(b"answer")
        it.bob.finish()
        assert await read_all(it.alice) == b"answer"
        await it.over.wait()
        assert it.circuit.carried_bytes == len(b"questionanswer")


@pytest.mark.parametrize("who", ["alice", "bob"])
async def test_a_reset_of_one_end_is_one_at_the_other(who: str) -> None:
    async with spliced() as it:
        await it.alice.write(b"x")
        assert await it.bob.read() == b"x"
        one, other = (it.alice, it.bob) if who == "alice" else (it.bob, it.alice)
        one.reset()
        with pytest.raises(StreamResetError):
            await other.read()
        await it.over.wait()


@pytest.mark.parametrize("is_bulk", [False, True])
async def test_an_end_that_does_not_read_holds_up_the_other_and_the_relay_holds_little(
    is_bulk: bool,
) -> None:
    async with spliced(is_bulk=is_bulk) as it:
        written = 0
        with trio.move_on_after(1):
            while True:
                await it.alice.write(bytes(64 * KIB))
                written += 64 * KIB
        held = it.at_rita[0].held_bytes + it.at_rita[1].out.waiting_bytes
        window = CIRCUIT_BULK_WINDOW_BYTES if is_bulk else CIRCUIT_WINDOW_BYTES
        assert held <= window + LINK_OUTPUT_BYTES_MAX
        assert it.at_rita[0].held_bytes <= window
        assert written < 4 * KIB * KIB, "the sender stops"
        got = 0
        while got < written:
            got += len(await it.bob.read())


async def test_what_all_circuits_carry_stays_within_the_rate(autojump_clock: MockClock) -> None:
    cap = RateCap(1_000_000)
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(10):

            async def some() -> None:
                for _ in range(20):
                    await cap.take(32_000, is_bulk=True)

            nursery.start_soon(some)
    assert 6.2 <= trio.current_time() - began_s <= 6.5


async def test_calls_do_not_wait_behind_bulk_for_the_rate(autojump_clock: MockClock) -> None:
    cap = RateCap(1_000_000)
    waits_s = []

    async def bulk() -> None:
        while True:
            await cap.take(32_000, is_bulk=True)

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(bulk)
        for _ in range(200):
            await trio.sleep(0.05)
            began_s = trio.current_time()
            await cap.take(1_000, is_bulk=False)
            waits_s.append(trio.current_time() - began_s)
        nursery.cancel_scope.cancel()
    assert max(waits_s) == 0


async def test_who_calls_a_transfer_urgent_has_no_more_than_the_rate(
    autojump_clock: MockClock,
) -> None:
    cap = RateCap(1_000_000)
    began_s = trio.current_time()
    for _ in range(200):
        await cap.take(32_000, is_bulk=False)
    assert trio.current_time() - began_s > 6


async def test_without_a_bound_nobody_waits() -> None:
    cap = RateCap(0)
    with trio.fail_after(1):
        for _ in range(1000):
            await cap.take(1 << 30, is_bulk=True)


async def test_a_goodbye_is_heard_through_a_closed_circuit() -> None:
    async with spliced() as it:
        here = RelayedStream(it.alice, PeerId("rita"), is_bulk=False)
        there = RelayedStream(it.bob, PeerId("rita"), is_bulk=False)
        async with trio.open_nursery() as nursery:
            for end in (here, there):
                nursery.start_soon(end.see_out)
            await here.send_all(b"no: you are not one of us")
            await trio.aclose_forcefully(here)
            assert await there.receive_some() == b"no: you are not one of us"
            assert await there.receive_some() == b""
            with pytest.raises(trio.ClosedResourceError):
                await here.receive_some()
            await there.aclose()
        await it.over.wait()
