"""Lists show the command that was typed, and not what `run` put before it."""

import pytest

from swarmnode.cli.main import run
from swarmnode.cli.task.wrapped import FROM_FILE, INTO
from tests.api_lab import ServedNode
from tests.unit.swarmnode.cli.test_cli_task import T1


@pytest.mark.parametrize(
    "before", [(), (*INTO, "src/deep"), FROM_FILE, (*FROM_FILE, *INTO, "src/deep")]
)
def test_ls_and_show_have_the_command_as_it_was_typed(
    node: ServedNode, capsys: pytest.CaptureFixture[str], before: tuple[str, ...]
) -> None:
    argv = ["task", "submit", "--detach", "--", *before, "python3", "train.py"]
    assert run(argv) == 0
    capsys.readouterr()
    assert run(["task", "ls"]) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith("  python3 train.py")
    assert run(["task", "show", T1]) == 0
    shown = next(line for line in capsys.readouterr().out.splitlines() if "command" in line)
    assert shown.split(maxsplit=1)[1] == "python3 train.py"


def test_a_task_that_has_ended_is_in_no_unknown_phase(
    node: ServedNode, capsys: pytest.CaptureFixture[str]
) -> None:
    node.node.market.buyer.on_submit = lambda _task: node.node.market.buyer.finish(T1)
    assert run(["task", "submit", "-o", "json", "--", "x"]) == 0
    assert '"phase": "ended"' in capsys.readouterr().out
