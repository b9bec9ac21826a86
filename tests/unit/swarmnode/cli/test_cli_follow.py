"""Who waits for a task whose node goes away is told, and is not left waiting for ever."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from swarmnode.cli.client import Client, NodeUnreachableError
from swarmnode.cli.machines import Machines
from swarmnode.cli.task import follow, submitting


@dataclass
class AwayClient:
    """A node that does not answer for so long, on a clock of its own."""

    away_s: float
    now_s: float = 0.0
    asked: list[float] = field(default_factory=list)

    def get(self, path: str, timeout_s: float) -> dict[str, Any]:
        self.asked.append(self.now_s)
        self.now_s += 0.5
        if self.now_s < self.away_s:
            raise NodeUnreachableError("no node answers")
        return {"state": "done", "provider": "", "why": ""}

    def stream(self, path: str) -> Iterator[bytes]:
        raise NodeUnreachableError("no node answers")


def waited(client: AwayClient, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr("swarmnode.cli.task.follow.time.monotonic", lambda: client.now_s)
    monkeypatch.setattr(follow, "_AGAIN_S", 0.0)
    return follow.wait_for(cast("Client", client), "t", None, lambda _detail: None)


@pytest.mark.parametrize(("away_s", "lines"), [(2.0, 0), (30.0, 1)])
def test_a_node_that_is_back_in_time_is_waited_for_and_said_to_be_away_once(
    away_s: float,
    lines: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert waited(AwayClient(away_s), monkeypatch)["state"] == "done"
    said = capsys.readouterr().err
    assert said.count("does not answer: waiting for it") == lines


def test_a_node_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    client = AwayClient(1e9)
    with pytest.raises(NodeUnreachableError):
        waited(client, monkeypatch)
    assert client.now_s < follow.RECONNECT_S + 2


def test_who_waited_for_a_node_in_vain_is_told_how_to_return(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = AwayClient(1e9)
    machines = SimpleNamespace(has_others=True, label=str)
    monkeypatch.setattr("swarmnode.cli.task.submitting.Machines.seen_by", lambda _client: machines)
    monkeypatch.setattr("swarmnode.cli.task.follow.time.monotonic", lambda: client.now_s)
    monkeypatch.setattr(follow, "_AGAIN_S", 0.0)
    with pytest.raises(NodeUnreachableError):
        submitting.stay_with(cast("Client", client), "t7", "json", cancel_on_interrupt=True)
    said = capsys.readouterr().err
    assert "swarmnode task logs -f t7" in said
    assert "swarmnode task get t7" in said


@dataclass
class SilentClient:
    """Its task prints nothing for long; then its node restarts once, and the task prints a line."""

    now_s: float = 0.0
    tries: int = 0

    def stream(self, path: str) -> Iterator[bytes]:
        self.tries += 1
        if self.tries == 1:
            self.now_s += 10 * follow.RECONNECT_S
            raise EOFError
        if self.tries < 5:
            raise NodeUnreachableError("no node answers")
        yield b"one"


def test_a_log_is_followed_across_a_restart_after_a_long_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = SilentClient()
    monkeypatch.setattr("swarmnode.cli.task.follow.time.monotonic", lambda: client.now_s)
    monkeypatch.setattr(follow, "_AGAIN_S", 0.0)
    pieces = follow.log_pieces(cast("Client", client), "t", "stdout", follow=True)
    assert list(pieces) == [b"one"]


def test_of_an_attempt_that_was_lost_it_is_said_once_before_the_next_one_prints_anew(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lost = attempt(1, "p1", "lost", "its machine is dead")
    refused, open_one = attempt(2, "p1", "refused", "full"), attempt(3, "p2", "", "")
    watcher = submitting.Watcher(Machines([{"peer": "p1", "name": "nb"}]), cancels=False)
    for state, history in (
        ("running", [attempt(1, "p1", "", "")]),
        ("auctioned", [lost]),
        ("submitted", [lost, refused]),
        ("running", [lost, refused, open_one]),
        ("done", [lost, refused, open_one]),
    ):
        watcher.tell({"state": state, "provider": "", "why": "", "history": history})
    said = capsys.readouterr().err
    assert said == "  attempt 1 on nb ended as lost: its machine is dead; the task goes on\n"


def attempt(fence: int, provider: str, ended_as: str, detail: str) -> dict[str, Any]:
    return {"fence": fence, "provider": provider, "ended_as": ended_as, "detail": detail}
