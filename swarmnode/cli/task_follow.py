"""Stay with a task: its output as it comes, its end, its exit code.

The task does not depend on us: a node that restarts meanwhile is waited for, and nothing printed
is lost or repeated, because a log is read on from the offset we have.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import click

from swarmnode.cli import exits
from swarmnode.cli.client import ApiError, Client, NodeUnreachableError

STREAMS: Final = {"stdout": 1, "stderr": 2}
RECONNECT_S: Final = 60.0
"""A node is back within seconds of a crash or an upgrade; a minute is a generous bound."""
POLL_S: Final = 2.0
_AGAIN_S: Final = 0.25
ENDS: Final = ("done", "failed", "cancelled")


def exit_code_of(detail: dict[str, Any]) -> int:
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


def ending_of(detail: dict[str, Any]) -> str:
    """One line about an end that its exit code alone does not tell; empty for a good one."""
    if detail["state"] == "done" or (detail["state"] == "failed" and detail["reason"] == "exit"):
        return ""
    words = [word for word in (detail["reason"], detail["detail"] or detail["why"]) if word]
    return f"task {detail['task']} {detail['state']}: {': '.join(words) or 'no reason given'}"


def wait_for(
    client: Client, task: str, timeout_s: float | None, changed: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """The task once it has ended, or as it stands when the time is over."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    seen = ""
    while True:
        left = POLL_S if deadline is None else min(POLL_S, deadline - time.monotonic())
        path = f"/api/v1/tasks/{task}/wait?timeout_s={max(0.0, left):.3f}"
        detail: dict[str, Any] = _patiently(client, path)
        if (now := f"{detail['state']} {detail['provider']} {detail['why']}") != seen:
            seen = now
            changed(detail)
        if detail["state"] in ENDS or (deadline is not None and time.monotonic() >= deadline):
            return detail


def _patiently(client: Client, path: str) -> Any:  # noqa: ANN401  (a JSON document)
    """What GET answers, tried again while the node is away."""
    give_up = time.monotonic() + RECONNECT_S
    while True:
        try:
            return client.get(path, timeout_s=30.0)
        except (NodeUnreachableError, ApiError) as error:
            if not _is_away(error) or time.monotonic() > give_up:
                raise
            threading.Event().wait(_AGAIN_S)


def _is_away(error: Exception) -> bool:
    """Whether waiting helps: the node restarts."""
    return not isinstance(error, ApiError) or error.code == "starting"


def log_pieces(client: Client, task: str, stream: str, *, follow: bool) -> Iterator[bytes]:
    """What the task printed; when following, to its end, across restarts of the node."""
    offset, give_up = 0, time.monotonic() + RECONNECT_S
    while True:
        path = f"/api/v1/tasks/{task}/logs?stream={stream}&offset={offset}&follow={int(follow)}"
        try:
            for piece in client.stream(path):
                offset += len(piece)
                give_up = time.monotonic() + RECONNECT_S
                yield piece
        except (EOFError, NodeUnreachableError, ApiError) as error:
            if not _is_away(error) or not follow or time.monotonic() > give_up:
                raise
            threading.Event().wait(_AGAIN_S)
        else:
            return


class Copier:
    """Copies both logs of a task to our own stdout and stderr, in the background."""

    def __init__(self, client: Client, task: str, *, follow: bool) -> None:
        self._failure: Exception | None = None
        self._threads = [
            threading.Thread(
                target=self._copy, args=(client, task, stream, fd, follow), daemon=True
            )
            for stream, fd in STREAMS.items()
        ]
        for thread in self._threads:
            thread.start()

    def _copy(self, client: Client, task: str, stream: str, fd: int, follow: bool) -> None:
        try:
            for piece in log_pieces(client, task, stream, follow=follow):
                write_all(fd, piece)
        except (ApiError, NodeUnreachableError, EOFError, OSError) as error:
            self._failure = error  # told to the caller by `finish`

    def finish(self) -> None:
        """Return once both logs are copied; raises what went wrong with either."""
        for thread in self._threads:
            while thread.is_alive():
                thread.join(0.2)  # in pieces: Ctrl-C must get through
        if self._failure is not None:
            raise self._failure


def write_all(fd: int, data: bytes) -> None:
    """Unbuffered: a buffer's lock in a thread could hold up the end of the program."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def say(words: str) -> None:
    """A line about the task, beside its output."""
    click.echo(words, err=True)
