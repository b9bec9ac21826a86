"""What stands before a command that was typed: how it starts it, and that nobody sees it."""

import os
import subprocess
from pathlib import Path

import pytest

from swarmnode.cli.task.wrapped import FROM_FILE, INSTALLED, INTO, ITSELF, STDIN, typed


@pytest.mark.parametrize(
    "before",
    [(), (*INTO, "src"), (*INSTALLED, "src:."), (*INSTALLED, ".", *FROM_FILE, *INTO, "a")],
)
def test_the_command_is_shown_as_it_was_typed(before: tuple[str, ...]) -> None:
    assert typed((*before, "go", "-n", "3")) == "go -n 3"


@pytest.mark.parametrize(("given", "of_own"), [({}, ""), ({"PYTHONPATH": "mine"}, "mine:")])
def test_a_projects_scripts_and_modules_are_found_and_what_tells_of_it_is_out_of_the_way(
    tmp_path: Path, given: dict[str, str], of_own: str
) -> None:
    work, tmp = tmp_path / "a work folder*", tmp_path / "t m p"
    (work / ITSELF / "bin").mkdir(parents=True)
    (work / STDIN).write_text("piped\n")
    tmp.mkdir()
    program = work / ITSELF / "bin/go"
    program.write_text('#!/bin/sh\ncat; echo "$PYTHONPATH"; ls -A; echo $0 "$@"\n')
    program.chmod(0o755)
    env = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp), **given}
    run = (*INSTALLED, "src:.:libs/b", *FROM_FILE, "go", "a  b", "*")
    done = subprocess.run(run, cwd=work, env=env, capture_output=True, text=True, check=True)
    (at,) = tmp.glob("tmp.*/project")
    path = f"{at}/lib:{of_own}{work}/src:{work}:{work}/libs/b"
    assert done.stdout == f"piped\n{path}\n{at}/bin/go a  b *\n"
