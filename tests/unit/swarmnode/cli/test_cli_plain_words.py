"""What commands say where nothing is wrong and nothing happens, and whom they do not know."""

import json
import os
from pathlib import Path

import pytest

from swarmnode.cli import neighbours
from swarmnode.cli.doctor import state as checks_state
from swarmnode.cli.main import run
from swarmnode.home.config import Config
from swarmnode.home.folders import locate
from swarmnode.tasks.deaths import death_words
from tests.api_lab import ServedNode


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("pipe", "pipe is neither a file nor a folder, and what is piped in is no input yet"),
        ("x=pipe", "pipe is neither a file nor a folder, and what is piped in is no input yet"),
        ("-", "what is piped in is no input yet: store it (swarmnode obj put -) and say --in NAME"),
        ("x=-", "--in x=-: what is piped in is no input yet"),
    ],
)
def test_what_is_piped_in_is_no_input_and_the_way_to_make_it_one_is_said(
    node: ServedNode, tmp_path: Path, given: str, words: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    assert run(["task", "submit", "--in", given, "--", "true"]) == 2
    assert words in capsys.readouterr().err


def test_the_tasks_of_a_machine_that_nobody_knows_are_refused_and_not_an_empty_list(
    node: ServedNode, capsys: pytest.CaptureFixture[str]
) -> None:
    known = node.node.peer_lines()[0].name
    assert run(["task", "ls", "--on", known]) == 0
    assert run(["task", "ls", "--on", "nosuch"]) == 5
    assert "no member 'nosuch': see swarmnode peer ls" in capsys.readouterr().err


def test_the_owner_of_a_node_is_told_that_there_is_nothing_to_lock_or_unlock(
    node: ServedNode, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["unlock"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "scope  admin",
        "key    yours is the node's own: nothing to unlock",
    ]
    assert run(["unlock", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["person"] == ""
    assert run(["lock"]) == 4
    assert "there is nothing to lock or unlock" in capsys.readouterr().err


def test_a_range_beyond_the_end_of_an_object_is_said(
    node: ServedNode, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").write_bytes(b"abc")
    assert run(["obj", "put", str(tmp_path / "data")]) == 0
    cap = capfd.readouterr().out.split()[0]
    assert run(["obj", "cat", cap, "--start", "2"]) == 0
    assert capfd.readouterr() == ("c", "")
    assert run(["obj", "cat", cap, "--start", "3"]) == 0
    assert capfd.readouterr() == ("", "nothing was written: the object has no byte 3\n")


def test_in_a_home_without_keys_there_is_nothing_to_bring_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = locate({"SWARM_HOME": str(tmp_path)})
    found = checks_state.recovery(home, Config())
    assert found.detail == "no keys yet: there is nothing to bring back"
    home.make()
    home.machine_key.write_text("x")
    assert "its phrase brings all back" in checks_state.recovery(home, Config()).detail


@pytest.mark.parametrize(
    ("words", "is_one"),
    [
        ("/usr/bin/python3 /opt/bin/swarmnode run", True),
        ("swarm run --api-tcp x", True),
        ("python3 -m swarmnode.daemon", True),
        ("swarm up --profile test", True),
        ("swarm run -- python3 train.py", False),
        ("swarm run --gpu 1 python3 train.py", False),
        ("swarm task submit -- run", False),
    ],
)
def test_whose_other_home_has_a_running_node_is_told_to_use_that(
    tmp_path: Path, words: str, is_one: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "17").mkdir()
    (tmp_path / "17/cmdline").write_bytes(b"\0".join(words.encode().split()) + b"\0")
    found = neighbours.uids_here(tmp_path)
    monkeypatch.setattr(neighbours, "uids_here", lambda: found)
    said = neighbours.whom_to_ask()
    assert ("one of yours does in another: set SWARM_HOME" in said) is is_one
    assert bool(said) is is_one


def test_when_a_node_died_is_said_as_well_as_it_is_known() -> None:
    assert death_words(2_000) == "its machine's node died 2 to 7 s after the start"
    assert death_words(1) == "its machine's node died 0 to 5 s after the start"
