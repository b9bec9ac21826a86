"""Nobody waits for ever, and whoever has to wait hears that their answer comes."""

from collections.abc import AsyncIterator

import h11
import pytest
import trio
import trio.testing

from swarmnode.mirror.errors import MirrorError, UpstreamError
from swarmnode.mirror.exchange import Exchange, MirrorRequest
from swarmnode.mirror.limits import (
    ASK_IDLE_S,
    PAGE_GIVEN_S,
    PASSED_HEAD_S,
    UPSTREAM_HEAD_S,
    UPSTREAM_STALL_S,
)
from swarmnode.mirror.talk import UpstreamAsk, UpstreamPlace, UpstreamTalk

PLACE = UpstreamPlace("pypi.org", 443, "/simple/x/")


async def _heard(talk: UpstreamTalk) -> None:
    await talk.begin(PLACE, UpstreamAsk())
    while await talk.more():
        pass


@pytest.mark.parametrize(
    ("said", "after_s"),
    [
        (b"", UPSTREAM_HEAD_S),
        (b"HTTP/1.1 200 OK\r\ncontent-", UPSTREAM_HEAD_S),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nsome", UPSTREAM_STALL_S),
    ],
)
async def test_a_host_that_falls_silent_is_left(
    said: bytes, after_s: float, autojump_clock: trio.testing.MockClock
) -> None:
    near, far = trio.testing.memory_stream_pair()
    talk, began_s = UpstreamTalk(near, PLACE), trio.current_time()
    await far.send_all(said)
    with pytest.raises(UpstreamError, match="too slow") as slow:
        await _heard(talk)
    assert slow.value.status == 504
    assert trio.current_time() - began_s == pytest.approx(after_s)


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\n" + b"x: " + b"a" * 200_000,
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nsome",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffffffffff\r\n",
        b"SSH-2.0-x\r\n", b"",
    ],
)  # fmt: skip
async def test_what_is_no_answer_or_breaks_off_is_said_so(said: bytes) -> None:
    near, far = trio.testing.memory_stream_pair()
    talk = UpstreamTalk(near, PLACE)
    await far.send_all(said)
    await far.aclose()
    with pytest.raises(UpstreamError):
        await _heard(talk)


async def test_a_change_to_the_hub_may_take_minutes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def late() -> None:
            await trio.sleep(PASSED_HEAD_S - 1)
            await far.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

        nursery.start_soon(late)
        head = await UpstreamTalk(near, PLACE).begin(
            PLACE, UpstreamAsk("POST", head_s=PASSED_HEAD_S)
        )
    assert head.status_code == 200


async def test_who_waits_long_hears_dots_and_then_the_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Programs give up after ten seconds without a byte."""
    near, far = trio.testing.memory_stream_pair()
    exchange = Exchange(far)

    async def answer(request: MirrorRequest) -> None:
        async def wait() -> int:
            await trio.sleep_until(25)
            return 2

        size = await exchange.patiently(200, wait)
        await exchange.begin(200, [("content-length", str(size))])
        await exchange.send(b"ok")
        await exchange.end()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.run, answer)
        for _ in range(2):  # the second finds it at once
            http = h11.Connection(h11.CLIENT)
            asked = h11.Request(method="GET", target="/", headers=[("host", "x")])
            await near.send_all(http.send(asked) or b"")
            events = [event async for event in _events(near, http)]
            assert isinstance(events[0], h11.Response)
            waits = dict(events[0].headers).get(b"x-swarm-waits", b"")
            assert events[1] == h11.Data(data=b"ok")
            assert waits == (b"" if _ else b"." * 8)
        nursery.cancel_scope.cancel()


async def _events(stream: trio.abc.Stream, http: h11.Connection) -> AsyncIterator[object]:
    http.send(h11.EndOfMessage())
    while not isinstance(event := http.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            with trio.fail_after(10):
                http.receive_data(bytes(await stream.receive_some()))
        else:
            yield event


async def test_an_answer_that_fails_after_dots_is_reset_and_not_ended(
    autojump_clock: trio.testing.MockClock,
) -> None:
    near, far = trio.testing.memory_stream_pair()
    exchange = Exchange(far)

    async def answer(request: MirrorRequest) -> None:
        await exchange.patiently(200, lambda: trio.sleep_until(8))
        raise MirrorError("no")

    await near.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    await exchange.run(answer)
    assert await near.receive_some() == b"HTTP/1.1 200 OK\r\nx-swarm-waits: .."
    with trio.move_on_after(1) as scope:
        await near.receive_some()
    assert scope.cancelled_caught  # not closed here: who gave the stream resets it


async def test_a_program_that_does_not_come_to_the_end_of_asking_is_left(
    autojump_clock: trio.testing.MockClock,
) -> None:
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(b"GET / HT")

    async def answer(_request: MirrorRequest) -> None:
        raise AssertionError("nothing was asked")

    await Exchange(far).run(answer)
    assert trio.current_time() == pytest.approx(ASK_IDLE_S)


async def test_a_page_that_nobody_reads_is_not_held_for_ever(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Eight at once are all that a task has: who does not read them has none, and no memory."""

    async def answer(request: MirrorRequest) -> None:
        del request
        await exchange.answer(200, [], bytes(1 << 20))

    near, far = trio.testing.lockstep_stream_pair()
    exchange, started_s = Exchange(far), trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.run, answer)
        await near.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await near.receive_some(100)
    assert trio.current_time() - started_s == pytest.approx(PAGE_GIVEN_S)
