"""The CLI's way to the node when the node is not as it should be."""

import http.client
import io
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from swarmnode.cli.client import ApiError, Client, NodeUnreachableError
from swarmnode.cli.main import run

READY = b'{"state": "ready"}'
FULL = b'{"status": 507, "code": "store_full", "title": "no room left", "detail": "free some"}'
STARTING = b'{"status": 503, "code": "starting", "title": "the node is starting"}'


def answer(status: str, body: bytes) -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


@contextmanager
def answering(path: Path, *answers: bytes) -> Iterator[None]:
    """One connection per answer: reads some of the request, answers, hangs up."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            for one in answers:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(one)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(20)
        assert not thread.is_alive()


def test_an_answer_that_comes_before_all_was_sent_is_the_answer(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with (
        answering(path, answer("200 OK", READY), answer("507 No Room", FULL)),
        pytest.raises(ApiError, match="no room left: free some") as caught,
    ):
        Client(path).upload("/api/v1/objects", io.BytesIO(bytes(50_000_000)))
    assert caught.value.code == "store_full"


def test_a_node_that_goes_away_in_the_middle_is_not_told_as_one_that_never_ran(
    tmp_path: Path,
) -> None:
    path = tmp_path / "api.sock"
    with (
        answering(path, answer("200 OK", READY), b""),
        pytest.raises(NodeUnreachableError, match="went away in the middle"),
    ):
        Client(path).upload("/api/v1/objects", io.BytesIO(bytes(50_000_000)))


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_download_cut_by_the_node_s_end_says_so_and_one_of_a_node_that_lives_does_not(
    tmp_path: Path, is_gone: bool
) -> None:
    path = tmp_path / "api.sock"
    some = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n64\r\ncut"
    wanted = NodeUnreachableError if is_gone else EOFError
    words = "went away in the middle" if is_gone else "cut the stream short"
    with answering(path, some):
        pieces = Client(path).download("/api/v1/objects/read", {})
        assert next(pieces)
        if is_gone:
            path.unlink()
        with pytest.raises(wanted, match=words):
            list(pieces)


@pytest.mark.parametrize("whole", [answer("200 OK", READY), answer("507 No Room", FULL)])
def test_a_node_that_dies_while_it_answers_is_one_line_too(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "api.sock"
    with (
        answering(path, whole[:-9]),
        pytest.raises(NodeUnreachableError, match="went away in the middle"),
    ):
        Client(path).get("/api/v1/tasks")


def test_a_node_that_is_starting_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    starting = answer("503 Starting", STARTING)
    with answering(path, starting, starting, answer("200 OK", b"[]")):
        assert Client(path).get("/api/v1/tasks") == []


def test_the_socket_of_another_user_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: http.client.HTTPConnection) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("swarmnode.cli.client._UnixConnection.connect", refuse)
    with pytest.raises(NodeUnreachableError, match="another user: set SWARM_HOME to a folder of y"):
        Client(tmp_path / "api.sock").get("/api/v1/tasks")


@pytest.mark.parametrize(
    ("environ", "code", "words"),
    [
        ({"SWARM_API": "https://127.0.0.1:1"}, 2, "write http://HOST:PORT"),
        ({"SWARM_API": "127.0.0.1:1"}, 2, "write http://HOST:PORT"),
        ({"SWARM_API": "http://x:1", "SWARM_TOKEN_FILE": "/nothing"}, 2, "No such file"),
        ({"SWARM_API": "http://x:1", "SWARM_TOKEN_FILE": os.devnull}, 3, "no node answers"),
        ({"SWARM_API": "http://127.0.0.1:1"}, 3, "http://127.0.0.1:1: correct SWARM_API"),
        ({"SWARM_HOME": "relative"}, 1, "must be an absolute path"),
    ],
)
def test_a_wrong_way_to_the_node_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environ: dict[str, str],
    code: int,
    words: str,
) -> None:
    for name in ("SWARM_API", "SWARM_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SWARM_HOME", str(tmp_path))
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert run(["task", "ls"]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert words in said.err
