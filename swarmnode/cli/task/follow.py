"""Stay with a task: its output as it comes, its end, its exit code.

The task does not depend on us: a node that restarts meanwhile is waited for, and nothing printed
is lost or repeated, because a log is read on from the offset we have.
"""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

import click

from swarmnode.cli import exits
from swarmnode.cli.client import ApiError, Client, Document, NodeUnreachableError
from swarmnode.cli.output import printable

STREAMS: Final = {"stdout": 1, "stderr": 2}
RECONNECT_S: Final = 60.0
"""A node is back within seconds of a crash or an upgrade; a minute is a generous bound."""
UNSAID_S: Final = 3.0
"""It restarts in less: nobody need hear of that."""
POLL_S: Final = 2.0
BESIDES: Final = "; "
"""In the words of a failed command's end, before what went wrong besides (tasks.records)."""
READER_EVERY_S: Final = 0.5
"""While we copy its output: whether anybody still reads it is asked so often."""
_AGAIN_S: Final = 0.25
_AWAY: Final = (
    f"the node of this machine does not answer: waiting for it, for {RECONNECT_S:.0f} s at most; "
    "what runs on other machines goes on"
)
ENDS: Final = ("done", "failed", "cancelled")


def exit_code_of(detail: Document) -> int:
    """The task's own code if it has one, else what a script should know."""
    code = detail["exit_code"]
    if detail["state"] == "cancelled":
        return exits.INTERRUPTED
    if detail["state"] == "done":
        return code or exits.OK
    if code is not None:
        return code or exits.ERROR
    if detail["reason"] == "outputs":  # it ran, but did not leave what it was to leave
        return exits.ERROR
    was_tried = detail["attempts"] and detail["reason"] != "deadline"
    return exits.TASK_NOT_STARTED if was_tried else exits.TEMPORARY


def ending_of(detail: Document) -> str:
    """One line about an end that its exit code alone does not tell; empty for a good one."""
    if detail["state"] == "done":
        return ""
    if detail["state"] == "failed" and detail["reason"] == "exit":
        besides = str(detail["detail"]).partition(BESIDES)[2]
        return besides and f"task {detail['task']}: {printable(besides)}"
    words = [word for word in (detail["reason"], detail["detail"] or detail["why"]) if word]
    return f"task {detail['task']} {detail['state']}: {': '.join(words) or 'no reason given'}"


def wait_for(
    client: Client,
    task: str,
    timeout_s: float | None,
    changed: Callable[[Document], None],
    has_left: Callable[[], bool] | None = None,
) -> Document:
    """The task once it has ended, or as it stands when the time is over or nobody cares."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    seen = ""
    poll_s = POLL_S if has_left is None else min(POLL_S, READER_EVERY_S)
    while True:
        left = poll_s if deadline is None else min(poll_s, deadline - time.monotonic())
        path = f"/api/v1/tasks/{task}/wait?timeout_s={max(0.0, left):.3f}"
        detail: Document = _patiently(client, path)
        if (now := f"{detail['state']} {detail['provider']} {detail['why']}") != seen:
            seen = now
            changed(detail)
        is_late = deadline is not None and time.monotonic() >= deadline
        if detail["state"] in ENDS or is_late or (has_left is not None and has_left()):
            return detail


def _patiently(client: Client, path: str) -> Document:
    """What GET answers, tried again while the node is away."""
    began, has_said = time.monotonic(), False
    while True:
        try:
            detail: Document = client.get(path, timeout_s=30.0)
        except (NodeUnreachableError, ApiError) as error:
            away_s = time.monotonic() - began
            if not _is_away(error) or away_s > RECONNECT_S:
                raise
            if away_s > UNSAID_S and not has_said:
                has_said = True
                say(_AWAY)
            threading.Event().wait(_AGAIN_S)
        else:
            return detail


def _is_away(error: Exception) -> bool:
    """Whether waiting helps: the node restarts."""
    return not isinstance(error, ApiError) or error.code == "starting"


def log_pieces(
    client: Client, task: str, stream: str, *, follow: bool, attempt: int = 0
) -> Iterator[bytes]:
    """What the task printed; when following, to its end, across restarts of the node.

    With `attempt` only what that one printed.
    """
    offset, gone_s = 0, time.monotonic()
    while True:
        path = f"/api/v1/tasks/{task}/logs?stream={stream}&offset={offset}&follow={int(follow)}"
        path += f"&attempt={attempt}" if attempt else ""
        began_s = time.monotonic()
        try:
            for piece in client.stream(path):
                offset += len(piece)
                gone_s = time.monotonic()
                yield piece
        except (EOFError, NodeUnreachableError, ApiError) as error:
            now_s = time.monotonic()
            if now_s - began_s > UNSAID_S:  # it was there, and nothing was printed
                gone_s = now_s
            if not _is_away(error) or not follow or now_s > gone_s + RECONNECT_S:
                raise
            threading.Event().wait(_AGAIN_S)
        else:
            return


def say(words: str) -> None:
    """A line about the task, beside its output."""
    click.echo(words, err=True)
