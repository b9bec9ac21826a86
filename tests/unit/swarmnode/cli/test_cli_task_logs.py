"""`task wait` and `task logs` as a person, a script or a pipe that closes meets them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from swarmnode.cli.main import run
from swarmnode.cli.task.logs import Whole
from swarmnode.demo.report import until
from swarmnode.tasks.ids import TaskId
from tests.api_lab import ServedNode
from tests.fake_market import ADA
from tests.unit.swarmnode.cli.test_cli_task import ROOT, T1, ends, when_submitted


def test_wait_gives_up_with_75(node: ServedNode, capsys: pytest.CaptureFixture[str]) -> None:
    run(["task", "submit", "--detach", "--", "x"])
    assert run(["task", "wait", "t1", "--timeout", "0.2"]) == 75


def test_a_document_holds_the_end_of_what_was_printed_and_says_what_it_left_out() -> None:
    whole = Whole({"stdout": 1, "stderr": 2}, bytes_max=5)
    take = whole.sinks()["stdout"]
    for piece in (b"one", b"two\xff", b"three", b"4"):
        take(piece)
    assert whole.texts() == {"stdout": "hree4", "stderr": ""}
    assert whole.left_out_bytes == 8
    whole.sinks()["stderr"](b"a\xffb")
    assert whole.texts()["stderr"] == "a\ufffdb"


def test_logs_in_every_form(node: ServedNode, capfd: pytest.CaptureFixture[str]) -> None:
    ends(node, out="one\ntwo\n", err="oh\n")
    run(["task", "submit", "--detach", "--", "x"])
    capfd.readouterr()
    assert run(["task", "logs", "-f", "t1"]) == 0
    assert capfd.readouterr() == ("one\ntwo\n", "oh\n")
    assert run(["task", "logs", "t1", "--stream", "stderr"]) == 0
    assert capfd.readouterr() == ("oh\n", "")
    assert run(["task", "logs", "t1", "-o", "json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"v": 1, "stdout": "one\ntwo\n", "stderr": "oh\n"}
    assert run(["task", "logs", "t1", "-o", "jsonl"]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert sorted(lines, key=lambda line: str(line["stream"])) == [
        {"stream": "stderr", "line": "oh"},
        {"stream": "stdout", "line": "one"},
        {"stream": "stdout", "line": "two"},
    ]


def test_an_attempt_that_there_is_not_is_refused_with_those_that_there_are(
    node: ServedNode, capfd: pytest.CaptureFixture[str]
) -> None:
    run(["task", "submit", "--detach", "--", "x"])
    for number, words in ((1, "no attempt 1: it has none yet"), (0, "")):
        assert run(["task", "logs", "t1", "--attempt", str(number)]) == (5 if words else 0)
        assert words in capfd.readouterr().err
    node.do(lambda market: market.buyer.start(T1))
    node.do(lambda market: market.buyer.prints(T1, "one\n"))
    assert run(["task", "logs", "t1", "--attempt", "1"]) == 0
    assert run(["task", "logs", "t1", "--attempt", "99", "-f"]) == 5
    assert "no such attempt: t1 has no attempt 99: it has 1 (task show)" in capfd.readouterr().err


@pytest.mark.parametrize("form", ["table", "json", "jsonl"])
def test_logs_that_nobody_reads_any_more_end_within_a_second(node: ServedNode, form: str) -> None:
    run(["task", "submit", "--detach", "--", "x"])
    node.do(lambda market: market.buyer.start(T1))
    node.do(lambda market: market.buyer.prints(T1, "one\n"))
    command = [sys.executable, "-m", "swarmnode.cli.main", "task", "logs", "-f", "t1", "-o", form]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=pipe, stderr=pipe) as ours:
        assert ours.stdout is not None
        assert ours.stderr is not None
        if form != "json":
            assert b"one" in ours.stdout.readline()
        else:
            until(lambda: bool(node.node.market.buyer.reading), within_s=20, what="somebody reads")
        ours.stdout.close()
        assert ours.wait(20) == 141
        assert ours.stderr.read() == b""


def test_submit_that_nobody_reads_any_more_leaves_its_task(node: ServedNode) -> None:
    command = [sys.executable, "-m", "swarmnode.cli.main", "task", "submit", "--", "x"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=pipe, stderr=pipe) as ours:
        assert ours.stdout is not None
        assert ours.stderr is not None
        when_submitted(node)
        node.do(lambda market: market.buyer.prints(T1, "one\n"))
        assert ours.stdout.readline() == b"one\n"
        ours.stdout.close()
        assert ours.wait(20) == 141
        assert b"Traceback" not in ours.stderr.read()
    assert not node.node.market.buyer.views[T1].has_ended


def test_jsonl_prints_each_line_while_the_task_runs(node: ServedNode) -> None:
    run(["task", "submit", "--detach", "--", "x"])
    node.do(lambda market: market.buyer.start(T1))
    command = [
        sys.executable,
        "-m",
        "swarmnode.cli.main",
        "task",
        "logs",
        "-f",
        "t1",
        "-o",
        "jsonl",
    ]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE) as ours:
        assert ours.stdout is not None
        node.do(lambda market: market.buyer.prints(T1, "one\ntw"))
        assert json.loads(ours.stdout.readline()) == {"stream": "stdout", "line": "one"}
        node.do(lambda market: market.buyer.prints(T1, "o\nthree"))
        assert json.loads(ours.stdout.readline()) == {"stream": "stdout", "line": "two"}
        node.do(lambda market: market.buyer.finish(T1))
        assert json.loads(ours.stdout.readline()) == {"stream": "stdout", "line": "three"}
        assert ours.wait(20) == 0


def _lacks(node: ServedNode) -> None:
    """Every task prints a line and ends; the rest of its output is at a machine that is away."""
    ends(node, out="one\n")
    buyer = node.node.market.buyer
    act = buyer.on_submit

    def lack(task: TaskId) -> None:
        act(task)
        buyer.views[task] = replace(buyer.views[task], log_at=ADA)

    buyer.on_submit = lack


@pytest.mark.parametrize(
    ("follows", "hint"),
    [
        ([], "; swarmnode task logs -f t1 waits for it"),
        (["-f"], ", which does not give it now; swarmnode task logs t1 shows it later"),
    ],
)
def test_logs_whose_rest_is_at_another_machine_say_so_and_end_with_6(
    node: ServedNode, capfd: pytest.CaptureFixture[str], follows: list[str], hint: str
) -> None:
    _lacks(node)
    run(["task", "submit", "--detach", "--", "x"])
    capfd.readouterr()
    assert run(["task", "logs", "t1", *follows]) == 6
    said = capfd.readouterr()
    assert said.out == "one\n"
    assert f"the rest of its output has not come: it is at ada{hint}" in said.err


def test_submit_says_that_output_lacks_and_ends_as_its_task_did(
    node: ServedNode, capfd: pytest.CaptureFixture[str]
) -> None:
    _lacks(node)
    assert run(["task", "submit", "--", "x"]) == 0
    said = capfd.readouterr()
    assert said.out == "one\n"
    assert "the rest of its output has not come: it is at ada" in said.err


def test_get_brings_what_there_is_of_such_logs_and_ends_with_6(
    node: ServedNode, capfd: pytest.CaptureFixture[str]
) -> None:
    _lacks(node)
    run(["task", "submit", "--detach", "--", "x"])
    capfd.readouterr()
    assert run(["task", "get", "t1", "into"]) == 6
    assert Path("into/logs/stdout").read_text() == "one\n"
    assert "logs: task t1: the rest of its output has not come" in capfd.readouterr().err
