"""How far a transfer is: for a person at a terminal, for a program that asked, for nobody else."""

import json
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from swarmnode.cli.files import progress as progress_module
from swarmnode.cli.files.progress import Progress
from swarmnode.cli.main import run
from tests.api_lab import ServedNode

DATA = os.urandom(3_000_000)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file whose transfer counts as long from its first byte."""
    monkeypatch.setattr(progress_module, "BEGINS_S", -1.0)
    monkeypatch.setattr(progress_module, "TOLD_EVERY_S", 0.0)
    file = tmp_path / "source"
    file.write_bytes(DATA)
    return file


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_program_that_asks_for_lines_is_told_and_knows_the_result_from_the_rest(
    node: ServedNode, source: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["obj", "put", str(source), "-o", "jsonl"]) == 0
    *told, receipt = lines(capfd.readouterr().out)
    assert told
    assert {one["event"] for one in told} == {"progress"}
    assert "event" not in receipt
    assert (told[-1]["verb"], told[-1]["done"], told[-1]["total"]) == ("put", len(DATA), len(DATA))
    target = source.with_name("target")
    assert run(["obj", "get", str(receipt["cap"]), str(target), "-o", "jsonl"]) == 0
    *told, got = lines(capfd.readouterr().out)
    assert (told[-1]["done"], got["size"]) == (len(DATA), len(DATA))
    assert target.read_bytes() == DATA


@pytest.mark.parametrize("form", ["json", "table"])
def test_without_a_terminal_or_a_wish_for_lines_there_is_none(
    form: str, node: ServedNode, source: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["obj", "put", str(source), "-o", form]) == 0
    found = capfd.readouterr()
    assert "progress" not in found.out + found.err
    assert "put 3" not in found.out + found.err
    assert form == "table" or json.loads(found.out)["cap"]


@pytest.mark.parametrize("form", ["json", "jsonl", "table"])
def test_what_goes_to_standard_output_is_the_data_and_nothing_else(
    form: str, node: ServedNode, source: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run(["obj", "put", str(source), "-o", "json"]) == 0
    cap = json.loads(capfdbinary.readouterr().out)["cap"]
    assert run(["obj", "get", cap, "-", "-o", form]) == 0
    assert capfdbinary.readouterr() == (DATA, b"")


@pytest.mark.parametrize("form", ["json", "table"])
def test_a_terminal_shows_it_beside_data_that_goes_elsewhere(
    form: str,
    node: ServedNode,
    source: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    main, terminal = pty.openpty()
    with os.fdopen(main, "rb", buffering=0) as seen, os.fdopen(terminal, "w") as screen:
        os.set_blocking(main, False)
        monkeypatch.setattr(sys, "stderr", screen)
        assert run(["obj", "put", str(source), "-o", form]) == 0
        shown = seen.read() or b""
    assert (b"put 256.0 KiB of 2.9 MiB" in shown) == (form == "table")
    assert "KiB of" not in capfd.readouterr().out


def test_whoever_reads_the_lines_and_goes_away_ends_the_transfer(node: ServedNode) -> None:
    """Through a pipe that nobody reads, fed until the first line is due."""
    ours, theirs = os.pipe()
    os.close(ours)
    command = [sys.executable, "-m", "swarmnode.cli.main", "obj", "put", "-", "-o", "jsonl"]
    with subprocess.Popen(
        command, bufsize=0, stdin=subprocess.PIPE, stdout=theirs, stderr=subprocess.PIPE
    ) as child:
        os.close(theirs)
        assert child.stdin is not None
        assert child.stderr is not None
        try:
            while child.poll() is None:
                child.stdin.write(bytes(65536))
                threading.Event().wait(0.02)  # slower than a node takes it
        except BrokenPipeError:
            pass  # it has ended
        assert child.wait(30) == 141
        assert child.stderr.read() == b""


def test_progress_shows_itself_on_long_transfers_alone() -> None:
    said: list[str] = []
    now = [0.0]
    progress = Progress("put", 1000 * 2**20, write=said.append, now_s=lambda: now[0])
    for _ in range(100):
        now[0] += 0.1
        progress.add(2**20)
    assert said[0].endswith("put 20.0 MiB of 1000.0 MiB (2 %), 10.0 MiB/s, 1:38 left")
    assert 20 < len(said) < 40
    progress.end()
    assert said[-1] == "\r\x1b[K"
    short: list[str] = []
    quick = Progress("get", write=short.append, now_s=lambda: now[0])
    quick.add(5000)
    quick.end()
    assert short == []
