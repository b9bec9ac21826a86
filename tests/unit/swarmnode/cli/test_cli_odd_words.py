"""Whatever is typed where a name, an id or an address is expected: an answer in words."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from swarmnode.cli.main import run
from tests.api_lab import ServedNode, served_node

ODD = (os.fsdecode(b"\xff"), "a/b", "a b?#%", "\n\x1b[2J", "x" * 5000, "..", "")
TAKES_A_WORD = (
    "task show", "task logs", "task get", "task cancel", "task wait", "task retry", "task rm",
    "task explain", "task ls --name", "task ls --on", "task ls --since", "task wait t1 --timeout",
    "obj stat", "obj rm", "obj cat", "obj ls --task", "obj put", "obj put /dev/null --name",
    "member remove", "ping", "person add", "person rm", "token rm", "token new --name",
    "status --wait", "node pause --grace", "join", "config show --profile", "invite --address",
    "init --name", "recover --address", "task submit --spec", "task submit --name",
    "task submit --in", "task submit --out", "task submit --set", "task submit --mem",
)  # fmt: skip


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedNode]:
    monkeypatch.setenv("SWARM_API", str(tmp_path / "api.sock"))
    monkeypatch.setenv("SWARM_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with served_node(tmp_path / "api.sock") as served:
        yield served


@pytest.mark.parametrize("words", TAKES_A_WORD)
def test_any_word_is_answered_in_words(
    words: str, node: ServedNode, capsys: pytest.CaptureFixture[str]
) -> None:
    for odd in ODD:
        tail = ["--dry-run", "--", "x"] if words.startswith("task submit") else []
        code = run([*words.split(), odd, *tail])
        assert code in (0, 1, 2, 3, 4, 5, 75), odd
        said = capsys.readouterr().err
        assert (code == 0) or said, odd
        assert "went away" not in said, odd
        assert "\x1b" not in said, odd


@pytest.mark.parametrize("words", ["task wait", "task rm", "task cancel", "task show", "obj rm"])
def test_an_empty_name_is_a_variable_that_was_not_set(
    words: str, node: ServedNode, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words.split(), ""]) == 2
    said = capsys.readouterr().err
    assert "a name is empty: was a variable meant that is not set?" in said
    assert ": :" not in said


@pytest.mark.parametrize("words", ["task show", "task rm", "task submit --", "member remove"])
def test_a_byte_that_is_not_utf_8_is_shown_as_such(
    words: str, node: ServedNode, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words.split(), os.fsdecode(b"a\xffb")]) != 0
    said = capsys.readouterr().err
    assert r"a\xffb" in said
    assert r"\udc" not in said


@pytest.mark.parametrize("text", ["nan", "-1", "soon"])
def test_a_time_that_is_none_is_refused(
    text: str, node: ServedNode, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["status", "--wait", text], ["task", "wait", "t1", "--timeout", text]):
        assert run(words) == 2
        assert "not a valid number of seconds" in capsys.readouterr().err


@pytest.mark.parametrize(
    "address",
    ["http://", "http://a:b", "http://a:99999999", "http://a b", "http://a/b", "ftp://a", "x",
     "http://[::1", "http://u@h", "http://a..b", "http://\udcff", "/no/socket", "/" + "x" * 300],
)  # fmt: skip
def test_an_address_of_the_api_that_is_none_is_told_with_its_form(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWARM_API", address)
    assert run(["peer", "ls"]) in (2, 3)
    assert capsys.readouterr().err.startswith("error: ")


class Elsewhere(BaseHTTPRequestHandler):
    """Some other server than a node."""

    def do_GET(self) -> None:
        """A page."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>hello")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


def test_what_is_no_node_is_called_that(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setenv("SWARM_API", f"http://127.0.0.1:{server.server_port}")
        assert run(["peer", "ls"]) == 3
    assert "is not a Swarm node" in capsys.readouterr().err


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("words", ["peer ls", "join -", "obj put -", "--help", "task logs t1"])
def test_a_standard_stream_that_is_closed_harms_nothing(
    words: str, number: int, node: ServedNode
) -> None:
    command = f"exec {sys.executable} -m swarmnode.cli.entry {words} {number}>&-"
    done = subprocess.run(
        ["/bin/sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert b"Traceback" not in done.stderr
    assert done.returncode in (0, 1, 2, 5)


def test_a_screen_that_cannot_show_a_name_is_no_fault(node: ServedNode, tmp_path: Path) -> None:
    environ = os.environ | {"PYTHONUTF8": "0", "PYTHONIOENCODING": "koi8-r"}
    (tmp_path / "Größe").write_text("1")
    command = [sys.executable, "-m", "swarmnode.cli.entry"]
    put = [*command, "obj", "put", "Größe"]
    assert subprocess.run(put, env=environ, check=False, stdout=subprocess.PIPE).returncode == 0
    done = subprocess.run([*command, "obj", "ls"], env=environ, check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Gr\\xf6\\xdfe" in done.stdout


@pytest.mark.parametrize(
    "words",
    ["status", "key phrase", "invite", "init", "join x", "api token", "doctor", "config show",
     "task ls", "obj get x y", "member ls"],
)  # fmt: skip
def test_a_home_that_cannot_be_one_is_named(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWARM_HOME", "/" + "x" * 300)
    code = run(words.split())
    said = capsys.readouterr()
    assert code in (1, 2, 3, 4, 6)
    assert "xxx" in said.err + said.out


@pytest.mark.parametrize("words", ["token rm nobody", "person rm nobody"])
def test_nothing_done_is_no_table(
    words: str, node: ServedNode, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words.split()) == 5
    assert capsys.readouterr().out == ""
