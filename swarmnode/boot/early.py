"""What holds before anything heavy is loaded: Ctrl-C ends the process with 130, without a trace.

Between the first line of a program and its first command lie some tenths of a second of imports, in
which an interrupt would be told as the place in the imports where it came. And where a standard
stream is closed, the next file or socket to be opened would get its number, and what is printed.
"""

import _signal as signal  # type: ignore[import-not-found]  # `signal` loads enum first: too late
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

_INTERRUPTED = 130
"""As in swarmnode.boot.exit_codes, which loads typing."""


def leave_on_interrupt() -> None:
    """Ctrl-C ends the process at once: nothing was begun yet, or all is done."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as of a job in the background
        signal.signal(signal.SIGINT, _leave)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def raise_on_interrupt() -> None:
    """From here on Ctrl-C is KeyboardInterrupt, which a command may answer; see the other."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def hear_signals() -> None:
    """Whatever started this process may have blocked signals, or ignored the end of children.

    A program keeps both: SIGTERM would stop no node, and no program that it runs would ever end.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def ignore_interrupt() -> None:
    """All is done and written: Ctrl-C finds nothing to end. The interpreter's own end, which takes
    hundredths of a second, would have it kill us and hide how the command ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def keep_standard_streams() -> None:
    """Where one of them is closed nothing else takes its place: to use it is an error, as it was.

    Source of the idea: `stdopen` of gnulib, open the other way round.
    """
    for number, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # the lowest number that is free


def hold_interrupts() -> None:
    """Until the program that this process becomes by exec calls `leave_on_interrupt`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _leave(_number: int, _frame: "FrameType | None") -> None:
    os._exit(_INTERRUPTED)
