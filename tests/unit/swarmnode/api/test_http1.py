"""HTTP/1.1 as clients of every kind speak it, on virtual time."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from starlette.requests import Request

from swarmnode.api.limits import API_BODY_STALL_S, API_HEAD_S, API_REPLY_STALL_S
from swarmnode.api.server.http1 import HttpConnection

GET = b"GET / HTTP/1.1\r\nhost: swarm\r\n\r\n"
App = Callable[..., Awaitable[None]]


class Wire:
    """The client's end, and what became of the server's."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.ended = trio.Event()
        self.busy: list[bool] = []
        self.stopping = trio.Event()

    async def until(self, text: bytes) -> bytes:
        """What comes, once it holds the text."""
        data = b""
        while text not in data:
            piece = await self.stream.receive_some()
            assert piece, data
            data += bytes(piece)
        return data

    async def rest(self) -> bytes:
        """Everything until the server hangs up."""
        return b"".join([bytes(piece) async for piece in self.stream])


@asynccontextmanager
async def wired(app: App) -> AsyncIterator[Wire]:
    ours, theirs = trio.testing.memory_stream_pair()
    wire = Wire(ours)

    async def serve() -> None:
        await HttpConnection(app, theirs, None, wire.busy.append).run(wire.stopping)
        await theirs.aclose()
        wire.ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield wire
        nursery.cancel_scope.cancel()


async def echo(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        if not message["more_body"]:
            break
    text = f"{scope['method']} {scope['path']} ".encode() + body
    head = [(b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": text})


async def flood(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})


async def test_requests_follow_one_another_on_one_connection() -> None:
    async with wired(echo) as wire:
        for body in (b"one", b"two"):
            await wire.stream.send_all(
                b"POST /a%20b?q=1 HTTP/1.1\r\nhost: swarm\r\ncontent-length: 3\r\n\r\n" + body
            )
            assert (await wire.until(body)).endswith(b"POST /a b " + body)
        assert wire.busy == [True, False, True, False]


async def deaf(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
    head = [(b"content-length", b"4")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": b"deaf"})


async def test_a_connection_stays_when_the_app_reads_no_body() -> None:
    async with wired(deaf) as wire:
        for _ in range(3):
            await wire.stream.send_all(GET)
            await wire.until(b"deaf")
        await wire.stream.send_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc")
        await wire.until(b"deaf")
        assert not wire.ended.is_set()
        await wire.stream.send_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc")
        assert (await wire.rest()).endswith(b"deaf")  # the rest of that body is not waited for


async def test_a_request_sent_ahead_is_answered_in_its_turn() -> None:
    async with wired(echo) as wire:
        await wire.stream.send_all(GET + GET.replace(b"/", b"/second", 1))
        assert (await wire.until(b"second ")).count(b"200") == 2


async def test_a_body_in_chunks_and_one_that_waits_to_be_asked_for_arrive() -> None:
    async with wired(echo) as wire:
        head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nexpect: 100-continue"
        await wire.stream.send_all(head + b"\r\n\r\n")
        assert b"100" in await wire.until(b"\r\n\r\n")
        await wire.stream.send_all(b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")
        assert (await wire.until(b"abcdef")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\n folded: y\r\nbad header\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 64,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: " + b"x" * 70_000,
    ],
)
async def test_what_is_ambiguous_or_no_http_1_is_refused_and_hung_up_on(
    request_bytes: bytes,
) -> None:
    async with wired(echo) as wire:
        await wire.stream.send_all(request_bytes)
        answer = await wire.rest()
        assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")), answer
        assert answer.count(b"HTTP/1.1 ") == 1
        await wire.ended.wait()
        assert True not in wire.busy


async def test_an_upgrade_to_http_2_is_passed_over() -> None:
    async with wired(echo) as wire:
        await wire.stream.send_all(
            b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n"
            b"http2-settings: AAMAAABkAAQAAP__\r\n\r\n"
        )
        assert (await wire.until(b"GET / ")).startswith(b"HTTP/1.1 200")


async def test_silence_ends_a_connection_and_a_slow_head_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with wired(echo) as wire:
        began_s = trio.current_time()
        assert await wire.rest() == b""
        assert trio.current_time() - began_s == API_HEAD_S
    async with wired(echo) as wire:
        await wire.stream.send_all(b"GET / HTTP/1.1\r\n")
        began_s = trio.current_time()
        assert (await wire.rest()).startswith(b"HTTP/1.1 408")
        assert trio.current_time() - began_s == API_HEAD_S


async def test_a_body_that_stalls_is_no_body(autojump_clock: trio.testing.MockClock) -> None:
    async with wired(echo) as wire:
        await wire.stream.send_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc")
        began_s = trio.current_time()
        await wire.ended.wait()
        assert trio.current_time() - began_s == API_BODY_STALL_S


async def test_a_reader_that_takes_nothing_is_let_go(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        connection = HttpConnection(flood, theirs, None, lambda _busy: None)
        nursery.start_soon(ours.send_all, GET)
        began_s = trio.current_time()
        await connection.run(trio.Event())
        assert trio.current_time() - began_s == API_REPLY_STALL_S


async def test_a_client_that_hangs_up_ends_its_request() -> None:
    async def waits(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    gone = trio.Event()
    async with wired(waits) as wire:
        await wire.stream.send_all(GET)
        await trio.testing.wait_all_tasks_blocked()
        await wire.stream.aclose()
        await gone.wait()
        await wire.ended.wait()


async def test_a_bug_in_a_route_is_told_and_logged_and_ends_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def breaks(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        raise ValueError("a bug")

    async with wired(breaks) as wire:
        await wire.stream.send_all(GET)
        assert (await wire.rest()).startswith(b"HTTP/1.1 500")
        await wire.ended.wait()
    assert "a bug" in caplog.text


async def test_a_body_that_breaks_off_is_no_bug(caplog: pytest.LogCaptureFixture) -> None:
    async def reads(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        await Request(scope, receive).body()

    async with wired(reads) as wire:
        await wire.stream.send_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc")
        await trio.testing.wait_all_tasks_blocked()
        await wire.stream.aclose()
        await wire.ended.wait()
    assert caplog.text == ""


async def broken(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
    raise RuntimeError("a bug in a route")


@pytest.mark.parametrize(
    ("app", "words", "status"),
    [
        (echo, b"HEAD / HTTP/1.1\r\nhost: swarm\r\nconnection: close\r\n\r\n", b"200"),
        (broken, b"HEAD / HTTP/1.1\r\nhost: swarm\r\n\r\n", b"500"),
        (
            echo,
            b"HEAD / HTTP/1.1\r\nhost: swarm\r\ncontent-length: 1\r\n"
            b"transfer-encoding: chunked\r\n\r\n",
            b"400",
        ),
        (echo, b"HEAD / HTTP/1.2\r\nhost: swarm\r\n\r\n", b"505"),
        (echo, b"CONNECT x:1 HTTP/1.1\r\nhost: swarm\r\n\r\nabc", b"501"),
    ],
)
async def test_what_has_no_body_to_answer_with_ends_its_own_connection_only(
    app: App, words: bytes, status: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with wired(app) as wire:
        await wire.stream.send_all(words)
        answer = await wire.rest()
        await wire.ended.wait()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)
    assert (body == b"") == words.startswith(b"HEAD")
    assert len(caplog.records) == (app is broken)


async def test_nothing_follows_an_answer_that_was_taken_in_part_only(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def pieces(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"piece"})

    ours, theirs = trio.testing.lockstep_stream_pair()
    busy: list[bool] = []
    async with trio.open_nursery() as nursery:
        connection = HttpConnection(pieces, theirs, None, busy.append)
        nursery.start_soon(connection.run, trio.Event())
        await ours.send_all(GET + GET)
        taken = b""
        while b"piece" not in taken:
            taken += bytes(await ours.receive_some())
        await trio.sleep(API_REPLY_STALL_S + 1)  # the end of the answer finds no taker
    assert busy == [True, False]
