"""The first Ctrl-C is for the program, as if it ran here; a second one is for the task."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from swarmnode.cli.client import ApiError, Client, NodeUnreachableError
from swarmnode.cli.task import follow as task_follow

_UNHEARD: Final = frozenset({"task_not_running", "peer_refused", "no_such_path"})
"""Problems that mean: it waits, it is just being brought there, or the node is an older one."""
_UNKNOWN: Final = "whether the program was told Ctrl-C is not known; once more cancels the task"


@contextmanager
def passed_on(client: Client, task: str) -> Iterator[None]:
    """Within, the first Ctrl-C reaches the program as SIGINT; the next is KeyboardInterrupt.

    So is the first where the program cannot hear it: the task waits, or its machine is away.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # ignored, as of a job in the background
        yield
        return

    may_end, is_over = threading.Lock(), threading.Event()

    def end() -> None:
        with may_end:
            if not is_over.is_set():
                os.kill(os.getpid(), signal.SIGINT)

    sender = threading.Thread(target=_send, args=(client, task, end), daemon=True)

    def pass_on(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sender.start()

    signal.signal(signal.SIGINT, pass_on)
    try:
        yield
    finally:
        with may_end:
            is_over.set()
        signal.signal(signal.SIGINT, before)


def _send(client: Client, task: str, end: Callable[[], None]) -> None:
    """Where it is sure that no program hears it, the task itself is meant."""
    try:
        if _is_told(client, task):
            task_follow.say("  the program was told Ctrl-C; once more cancels the task")
        elif client.get(f"/api/v1/tasks/{task}")["state"] not in task_follow.ENDS:
            end()
    except (ApiError, NodeUnreachableError, EOFError) as error:
        task_follow.say(f"  {_UNKNOWN}: {error}")


def _is_told(client: Client, task: str) -> bool:
    """False where nobody can be. Raises what leaves it open."""
    try:
        client.call("POST", f"/api/v1/tasks/{task}/signal", {"signal": "INT"})
    except ApiError as error:
        if error.code not in _UNHEARD:
            raise
        return False
    return True
