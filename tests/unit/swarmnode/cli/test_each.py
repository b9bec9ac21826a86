"""Going through several things."""

from typing import Any

import pytest

from swarmnode.cli import exits
from swarmnode.cli.each import each


def test_what_is_named_twice_is_done_once() -> None:
    assert each(["a", "b", "a"], lambda name: {"did": name}) == ([{"did": "a"}, {"did": "b"}], 0)


def test_a_message_never_holds_a_whole_capability(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(_: str) -> dict[str, Any]:
        raise exits.CliError("no such object", exits.NOT_FOUND)

    cap = "swarm:" + "k" * 109
    assert each([cap], refuse) == ([], 5)
    assert capsys.readouterr().err == "error: swarm:kkkkkkkk...: no such object\n"
