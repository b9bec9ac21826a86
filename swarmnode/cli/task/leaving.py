"""A command that is told to end (SIGTERM, SIGHUP) while a task goes on says so before it does."""

import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

import click

from swarmnode.cli.task import follow as task_follow

_TOLD_BY: Final = (signal.SIGTERM, signal.SIGHUP)
_BY_SHELL: Final = 128
"""What a shell adds to a signal's number."""


class _ToldToEnd(BaseException):
    """Raised where the main thread is, as KeyboardInterrupt is."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def told_when_ended(words: Callable[[], str]) -> Iterator[None]:
    """Within, these signals end the command with that line and 128 + signal.

    One that is ignored stays so (nohup); a second one ends the process at once.
    """
    before = {number: signal.getsignal(number) for number in _TOLD_BY}
    heard = [number for number in _TOLD_BY if before[number] is signal.SIG_DFL]

    def end(number: int, _frame: FrameType | None) -> None:
        for each in heard:
            signal.signal(each, signal.SIG_DFL)
        raise _ToldToEnd(number)

    try:
        for number in heard:
            signal.signal(number, end)
        try:
            yield
        finally:
            for number in heard:
                signal.signal(number, signal.SIG_DFL)
    except _ToldToEnd as told:
        _say(words())
        raise click.exceptions.Exit(_BY_SHELL + told.number) from told


def _say(words: str) -> None:
    """Unless the terminal is gone, or nobody reads what is there already: that ends us as well."""
    poll = select.poll()
    with suppress(OSError):
        poll.register(2, select.POLLOUT)
        if any(event & select.POLLOUT for _, event in poll.poll(0)):
            task_follow.say(words)
