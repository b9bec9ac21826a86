"""`obj` and `--in` as a person meets them, against a node whose pool is its memory."""

import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from storage.errors import ObjectRemovedError
from storage.facade import ObjectKind
from swarmnode.cli import output
from swarmnode.cli.main import run
from tests.api_lab import ServedNode
from tests.unit.swarmnode.cli.test_cli_task import ends


def listed(capfd: pytest.CaptureFixture[str], *words: str) -> list[dict[str, object]]:
    capfd.readouterr()
    assert run(["obj", *words, "-o", "json"]) == 0
    items: list[dict[str, object]] = json.loads(capfd.readouterr().out)["items"]
    return items


def test_an_input_is_stored_once_however_many_tasks_use_it(
    node: ServedNode, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ends(node)
    (tmp_path / "data").write_bytes(b"x" * 1000)
    (tmp_path / "copy").write_bytes(b"x" * 1000)
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "main.py").write_text("print()")
    for name in ("data", "data", "copy", "code", "code"):
        assert run(["task", "submit", "--in", str(tmp_path / name), "--", "true"]) == 0
    rows = listed(capfd, "ls")
    assert [(one["name"], one["kind"]) for one in rows] == [("data", "input"), ("code", "input")]
    inputs = [view.record.spec.inputs for view in node.node.market.buyer.views.values()]
    assert inputs[0][0][1] == inputs[1][0][1] == inputs[2][0][1]


def test_a_file_that_changed_is_another_input(
    node: ServedNode, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ends(node)
    for text in ("one", "two"):
        (tmp_path / "data").write_text(text)
        os.utime(tmp_path / "data", (1, 1))  # whatever its times say
        assert run(["task", "submit", "--in", str(tmp_path / "data"), "--", "true"]) == 0
    assert len(listed(capfd, "ls")) == 2


def test_inputs_that_are_to_be_kept_are_ordinary_objects(
    node: ServedNode, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ends(node)
    (tmp_path / "data").write_text("one")
    words = ["task", "submit", "--keep-inputs", "--in", str(tmp_path / "data"), "--", "true"]
    assert run(words) == 0
    assert [one["kind"] for one in listed(capfd, "ls")] == [ObjectKind.NONE]


def test_the_list_says_when_what_for_and_what_is_survived(
    node: ServedNode, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").write_bytes(b"x" * 2048)
    assert run(["obj", "put", str(tmp_path / "data")]) == 0
    capfd.readouterr()
    assert run(["obj", "ls"]) == 0
    heading, line = capfd.readouterr().out.splitlines()
    assert heading.split() == ["PUT", "SIZE", "KIND", "TASK", "SURVIVES", "NAME", "CAP"]
    assert "2.0 KiB  put" in line
    assert "any 1 machine  data  swarm:" in line
    assert listed(capfd, "ls", "--kind", "input") == []
    assert len(listed(capfd, "ls", "--kind", "put")) == 1
    assert run(["obj", "du"]) == 0
    assert capfd.readouterr().out.splitlines()[-1].split()[:5] == ["2.0", "KiB", "2.0", "KiB", "1"]


def test_removing_what_is_not_there_is_said_and_ends_with_5(
    node: ServedNode, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").write_bytes(b"x")
    assert run(["obj", "put", str(tmp_path / "data")]) == 0
    cap = capfd.readouterr().out.split()[0]
    assert run(["obj", "rm", cap]) == 0
    assert run(["obj", "rm", cap]) == 5
    assert "data was removed on 1970-01-01" in capfd.readouterr().err


def test_the_labs_key_removes_by_its_own_option_and_the_list_says_so(
    node: ServedNode, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").write_bytes(b"x")
    assert run(["obj", "put", str(tmp_path / "data")]) == 0
    cap = capfd.readouterr().out.split()[0]
    assert run(["obj", "rm", cap, "--reason", "of no use"]) == 2
    assert run(["obj", "rm", "--as-lab", "--reason", "by mistake", cap]) == 0
    assert "1 of 2 holders gave it up; the other once it answers" in capfd.readouterr().out
    assert [why for _, why in node.node.removed_as_lab] == ["by mistake"]
    (address, entry), *_ = node.node.objects._entries.items()
    gone = replace(entry, removed_ms=1000, removed_why="by mistake")
    node.node.objects._entries[address] = gone
    assert run(["obj", "ls"]) == 0
    words = "removed by the lab's key, 1970-01-01 00:00:01 UTC: by mistake"
    assert words in capfd.readouterr().out


def test_an_object_that_is_removed_while_it_is_read_is_cut_short_and_no_bug(
    node: ServedNode,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "f").write_bytes(b"data")
    run(["obj", "put", str(tmp_path / "f"), "-o", "json"])
    cap = json.loads(capfd.readouterr().out)["cap"]

    async def removed(_cap: object, **_range: object) -> AsyncIterator[bytes]:
        await trio.lowlevel.checkpoint()
        yield b"x" * 1000
        raise ObjectRemovedError("it was removed, from another machine")

    monkeypatch.setattr(node.node.objects, "get", removed)
    assert run(["obj", "get", cap, str(tmp_path / "got")]) == 6
    assert "cut the stream short" in capfd.readouterr().err
    assert "could not be read to its end: it was removed" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_name_longer_than_any_file_s_is_refused_and_that_of_any_file_is_not(
    node: ServedNode, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    longest = os.fsdecode(b"\xff" * 255)
    (tmp_path / longest).write_text("one")
    assert run(["obj", "put", str(tmp_path / longest)]) == 0
    assert run(["obj", "put", str(tmp_path / longest), "--name", "x" * 1021]) == 2
    assert "a name has at most 1020 characters" in capfd.readouterr().err
    assert [one["name"] for one in listed(capfd, "ls")] == ["\\xff" * 255]


def test_a_long_name_is_cut_on_a_terminal_and_whole_in_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"name": "n" * 200, "cap": "swarm:" + "c" * 110}]
    output.emit_rows(rows, "table", ("name", "cap"))
    assert "n" * 200 in capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    output.emit_rows(rows, "table", ("name", "cap"))
    shown = capsys.readouterr().out
    assert "n" * 61 + "...  swarm:" + "c" * 110 in shown
    assert "n" * 62 not in shown


def test_an_input_deep_in_folders_is_called_by_the_end_of_its_place(
    node: ServedNode, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ends(node)
    (tmp_path / "data").write_text("one")
    place = "/".join(["d" * 100] * 20 + ["data"])
    words = ["task", "submit", "--keep-inputs", "--in", f"{place}={tmp_path / 'data'}"]
    assert run([*words, "--", "true"]) == 0
    assert [one["name"] for one in listed(capfd, "ls")] == [place[-1020:]]
