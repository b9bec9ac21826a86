"""What `bench firstday` types at: a shell that is believed only when a line did what it should."""

import os
from pathlib import Path

import pytest

from bench.firstday.shell import Shell


def test_lines_are_typed_one_after_the_other_in_one_shell(tmp_path: Path) -> None:
    with Shell((), tmp_path, os.environ) as shell:
        shell.type("mkdir there && cd there && word=kept")
        assert {f"{tmp_path}/there", "kept"} <= shell.type("pwd; echo $word").keys()
        assert "nothing came" in shell.type("cat; echo nothing came"), "as at a terminal, no pipe"


def test_what_goes_on_in_the_background_is_awaited_by_what_it_says(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    with Shell((), tmp_path, os.environ) as shell:
        shell.type("(read -r word < gate; echo $word) &")
        assert "ready" in shell.type("echo ready > gate", until="ready")


def test_a_line_that_fails_ends_the_day_with_all_that_was_said(tmp_path: Path) -> None:
    with Shell((), tmp_path, os.environ) as shell:
        shell.type("echo before")
        with pytest.raises(SystemExit) as ended:
            shell.type("ls nowhere", until="never said")
    assert "'ls nowhere' did not do what it should" in str(ended.value)
    assert "before\n" in str(ended.value)
    assert "No such file" in str(ended.value)
