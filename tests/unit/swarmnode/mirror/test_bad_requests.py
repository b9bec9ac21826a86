"""Whatever a program sends ends at most its connection."""

import socket
from pathlib import Path

import h11
import pytest
import trio
import trio.testing

from tests.mirror_lab import (
    JSON,
    LAB,
    Internet,
    LabWay,
    Reply,
    exchange,
    mirror_machines,
    one_who_asks,
    wheel_in,
)
from tests.net_lab import Authority


async def test_a_fault_of_ours_ends_one_connection(
    tmp_path: Path,
    authority: Authority,
    internet: Internet,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class FaultyWay(LabWay):
        async def connect(self, host: str, port: int) -> socket.socket:
            raise ZeroDivisionError

    internet.wheel(wheel_in(tmp_path))
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        service, way = machines["a"].service, LabWay(internet, "pypi")
        faulty = FaultyWay(internet, "pypi")
        with pytest.raises(h11.RemoteProtocolError):
            await exchange(service, "pypi", faulty, "/simple/pkg/", JSON)
        assert (await exchange(service, "pypi", way, "/simple/pkg/", JSON)).status == 200
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    "words",
    [
        b"GET /simple/a/ HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 60_000 + b"\r\n\r\n",
        b"GET /simple/a\r\nx: 1 HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"GET /simple/a/ HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n",
        b"CONNECT evil.org:443 HTTP/1.1\r\nhost: evil.org\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_told_so(
    tmp_path: Path, authority: Authority, internet: Internet, words: bytes
) -> None:
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        service, way = machines["a"].service, LabWay(internet, "pypi")
        async with one_who_asks(service, "pypi", way, words) as near:
            said = bytes(await near.receive_some())
    assert said.startswith((b"HTTP/1.1 400", b"HTTP/1.1 405", b"HTTP/1.1 431"))
    assert internet.asked == []


@pytest.mark.parametrize(
    "words",
    [
        b"CONNECT /x HTTP/1.1\r\nhost: x\r\n\r\n",
        b"TRACE /x HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n"
        b"2\r\nab\r\n0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"
        b"2\r\nab\r\n0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /x HTTP/1.1\r\nhost: x\r\nx: \xff\xfe\r\n\r\n",
        b"GET /x HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    ],
)
async def test_nothing_that_a_program_sends_to_the_hub_is_a_fault_of_ours(
    tmp_path: Path,
    authority: Authority,
    internet: Internet,
    caplog: pytest.LogCaptureFixture,
    words: bytes,
) -> None:
    """Two lengths, methods that make something else of a connection, bytes that are no ASCII."""

    async def hears(stream: trio.abc.Stream) -> None:
        with trio.move_on_after(0.2):
            await stream.receive_some(1000)
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    internet.put("huggingface.co/x", Reply(act=hears))
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        service, way = machines["a"].service, LabWay(internet, "hf")
        async with one_who_asks(service, "hf", way, words) as near:
            said = bytes(await near.receive_some())
    assert said.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400", b"HTTP/1.1 405"))
    assert "fault" not in caplog.text
