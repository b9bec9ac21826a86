"""The first Ctrl-C is for the program, as if it ran here; a second one is for the task."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from swarmnode.cli.client import ApiError, Client, NodeUnreachableError
from swarmnode.cli.task import follow as task_follow


@contextmanager
def passed_on(client: Client, task: str) -> Iterator[None]:
    """Within, the first Ctrl-C reaches the program as SIGINT; the next is KeyboardInterrupt.

    So is the first where the program cannot hear it: the task waits, or its machine is away.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # ignored, as of a job in the background
        yield
        return

    def pass_on(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Thread(target=_send, args=(client, task), daemon=True).start()

    signal.signal(signal.SIGINT, pass_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _send(client: Client, task: str) -> None:
    path = f"/api/v1/tasks/{task}/signal"
    try:
        client.call("POST", path, {"signal": "INT"})
    except (ApiError, NodeUnreachableError, EOFError):
        os.kill(os.getpid(), signal.SIGINT)  # nobody hears it: it is the task that must end
    else:
        task_follow.say("  the program has heard Ctrl-C; once more cancels the task")
