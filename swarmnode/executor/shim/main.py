"""One small process per job that outlives the node: starts the sandbox, limits it, notes its end.

Started by `door`, in a session of its own, holding the job's lock file: whoever can take that
lock knows that the shim is gone. It talks to the node by
files of the job folder only, so a node that was killed finds everything where it left it:

    order     what to run and within which limits (written by the node, read once)
    control   FIFO; the node writes `stop GRACE_SECONDS`, `signal NAME`, `note WORDS` for the
              job's stderr, and `lease UNTIL NOTICE`, see lease.py
    hatch.sock                    where a node gets what belongs to the job, see hatch.py
    state     pid and start of shim and job, once the job runs
    exit      how it ended, written last and fsynced
    stdout, stderr                what the job printed, see logs.py
    shim.log

It imports little, so that it starts in milliseconds. If it dies, the sandbox dies with it.
"""

import fcntl
import os
import select
import time

from swarmnode.executor.kernel.proc import start_ticks
from swarmnode.executor.shim import pairs
from swarmnode.executor.shim.ending import Ending
from swarmnode.executor.shim.job_use import JobUse
from swarmnode.executor.shim.logs import Logs
from swarmnode.executor.shim.order import FD_DISK, Order
from swarmnode.executor.shim.process import ShimProcess
from swarmnode.executor.shim.secret_files import FD_SECRETS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal

    from swarmnode.executor.shim.hatch import Hatch
else:
    import _signal as signal  # without the enums of `signal`, which cost five milliseconds

FDS_MAX = 1 << 20
_SIGTERM_GRACE_S = 10.0
_TICK_S, _RETRY_S = 0.25, 0.01
_SIGNALS = {
    b"INT": signal.SIGINT, b"TERM": signal.SIGTERM, b"HUP": signal.SIGHUP,
    b"QUIT": signal.SIGQUIT, b"USR1": signal.SIGUSR1, b"USR2": signal.SIGUSR2,
}  # fmt: skip
"""What a submitter may tell a program: swarmnode.tasks.choices.JobSignal."""
_UNHEARD_MAX = 16
"""Signals that wait for a program to hear them; it is there within milliseconds."""


class Shim:
    """The life of one job."""

    def __init__(self, folder: str, ready_fd: int) -> None:
        self._folder = folder
        self._ready_fd = ready_fd
        """Says to the node that the job runs; closed then, and -1."""
        self._order = Order(pairs.read_pairs(folder + "/order"))
        if not self._order.sandbox.has_disk:
            os.closerange(FD_DISK, FD_DISK + 1)  # nothing of ours, then
        if not self._order.sandbox.has_secrets:
            os.close(FD_SECRETS)
        self._control = os.open(folder + "/control", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        """Where the node says what it wants."""
        self._started_s = time.monotonic()
        self._ending = Ending(self._started_s + self._order.allowance.wall_s, self._order.lease)
        self._help_at_s = 0.0
        """When its end is looked for next, on the monotonic clock."""
        self._unheard: list[int] = []
        """Signals that nobody could hear yet, in order."""
        self._process = ShimProcess(folder, self._order)
        self._use = JobUse(folder, self._order, self._process.all_pids)
        self._logs = Logs(folder, self._order.allowance.log_bytes)
        self._hatch: Hatch | None = None
        """Hands out what belongs to the job, once it runs; None where nothing does."""
        self._wake = self._listen_to_signals()
        """Ends a wait when a child ended, or when a signal came."""

    def _listen_to_signals(self) -> int:
        wake, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        return wake

    def run(self) -> None:
        """Start the job, see it to its end, write the exit file, clean up."""
        self._process.start(self._logs)
        self._announce()
        poll = select.poll()
        for fd in (self._wake, self._control, self._process.report_fd):
            poll.register(fd, select.POLLIN)
        self._logs.watch(poll)
        self._open_hatch(poll)
        while self._process.lives:
            self._wait(poll)
            self._process.reap()
            if self._process.lives:
                self._check_limits()
        self._end()

    def _open_hatch(self, poll: "select.poll") -> None:
        if self._process.held:
            from swarmnode.executor.shim.hatch import Hatch  # here: most jobs have none

            away_s = self._order.sandbox.data.node_away_s
            self._hatch = Hatch(self._folder, self._process.held, away_s, time.monotonic())
            self._hatch.watch(poll)

    def _announce(self) -> None:
        """Tell the node, and any node after it, that the job runs, once it does."""
        pid = self._process.pid
        if not pid or self._ready_fd < 0:
            return
        self._write_state(os.getpid(), pid)
        try:  # noqa: SIM105  (contextlib costs a millisecond)
            os.write(self._ready_fd, b"started")
        except BrokenPipeError:  # that node is gone; the next one reads the file
            pass
        os.close(self._ready_fd)
        self._ready_fd = -1

    def _write_state(self, shim: int, pid: int) -> None:
        started_ms = time.time_ns() // 1_000_000
        state = {
            "shim": shim, "shim_start": start_ticks(shim),
            "pid": pid, "pid_start": start_ticks(pid), "started_ms": started_ms,
        }  # fmt: skip
        pairs.write_pairs(
            self._folder + "/state", [(k, str(v)) for k, v in state.items()], durable=False
        )

    def _wait(self, poll: "select.poll") -> None:
        is_unheard = self._ending.is_notice_due or self._unheard
        tick_s = _RETRY_S if is_unheard else _TICK_S
        now_s = time.monotonic()
        left_s = max(0.0, self._ending.kill_at_s - now_s)
        for fd, _ in poll.poll(min(tick_s, left_s, self._logs.wake(now_s, poll)) * 1000 + 1):
            if fd == self._wake:
                os.read(fd, 4096)
            elif fd == self._control:
                self._obey(os.read(fd, 1 << 16))
            elif fd == self._process.report_fd:
                self._hear_report(poll)
            elif self._hatch is not None and self._hatch.knows(fd):
                self._hatch.hear(fd, poll, time.monotonic())
            else:
                self._hear_log(fd, poll)

    def _hear_report(self, poll: "select.poll") -> None:
        if not self._process.hear():
            poll.unregister(self._process.report_fd)
        self._announce()

    def _hear_log(self, fd: int, poll: "select.poll") -> None:
        try:
            self._logs.hear(fd, poll)
        except OSError:  # the machine's disk is full: nothing the job does could be kept
            self._kill("lost")
        if self._logs.is_over:
            self._kill("log")

    def _on_sigterm(self, _number: int, _frame: object) -> None:
        """The machine goes down: the job gets its notice, too."""
        self._stop(_SIGTERM_GRACE_S)

    def _obey(self, orders: bytes) -> None:
        for line in orders.splitlines():
            word, _, rest = line.partition(b" ")
            if word == b"stop":
                self._stop(float(rest))
            elif word == b"lease":
                self._ending.renew(rest)
            elif word == b"note":
                self._note(rest)
            elif word == b"signal" and rest in _SIGNALS:
                self._unheard = [*self._unheard, _SIGNALS[rest]][:_UNHEARD_MAX]
                self._give_notice()

    def _note(self, words: bytes) -> None:
        try:  # noqa: SIM105
            self._logs.note(words + b"\n")
        except OSError:  # the machine's disk is full: the job has more to lose than these words
            pass

    def _stop(self, grace_s: float) -> None:
        self._ending.stop(grace_s, time.monotonic())
        self._give_notice()

    def _give_notice(self) -> None:
        while self._unheard and self._process.hear_signal(self._unheard[0]):
            del self._unheard[0]
        if self._ending.is_notice_due and self._process.terminate():
            self._ending.is_notice_due = False

    def _check_limits(self) -> None:
        if self._ending.heed_lease():
            self._kill("lease")
        self._give_notice()
        now_s = time.monotonic()
        if now_s >= self._help_at_s:
            self._process.help_to_end()
            self._help_at_s = now_s + _TICK_S
        if self._hatch is not None:
            self._hatch.look(now_s)
        if reason := self._ending.due(now_s) or self._use.look(now_s):
            self._kill(reason)

    def _kill(self, reason: str) -> None:
        is_again = self._ending.record_kill(reason, time.monotonic())
        if not is_again:
            self._use.look_before_kill()
        if self._hatch is not None:
            self._hatch.let_go()  # who waits for bytes cannot be killed before it gets an answer
        self._process.kill(again=is_again)

    def _end(self) -> None:
        wall_s = time.monotonic() - self._started_s
        left_none = self._process.kill_rest()
        self._hear_rest()
        self._write_exit(wall_s, *self._verdict())
        if left_none:
            self._order.sandbox.cgroup.remove()

    def _write_exit(self, wall_s: float, code: int, reason: str) -> None:
        cpu_s = self._use.cpu_s(self._process.cpu_s())
        peak_bytes = self._use.memory_peak_bytes(self._process.memory_peak_bytes())
        pairs.write_pairs(
            self._folder + "/exit",
            [
                ("code", str(code)),
                ("reason", reason),
                ("wall_s", f"{wall_s:.6f}"),
                ("cpu_s", f"{cpu_s:.6f}"),
                ("memory_peak_bytes", str(peak_bytes)),
                ("enforced", self._order.enforced),
            ],
            durable=True,
        )

    def _hear_rest(self) -> None:
        self._process.hear_rest()
        try:
            self._logs.hear_rest()
            self._logs.settle()
        except OSError:
            self._ending.explain("lost")
        if self._logs.is_over:
            self._ending.explain("log")

    def _verdict(self) -> "tuple[int, str]":
        """Exit code as a shell would show it, and why it ended."""
        code = self._process.code()
        if reason := self._ending.explanation(code):
            return code, reason
        code, reason = self._process.own_end()
        return code, self._use.final(code) or reason


def main(folder: str, ready_fd: int, lock_fd: int) -> None:
    """Body of the process. The lock is ours already: the node took it and handed it on."""
    os.closerange(3, FD_SECRETS)
    os.closerange(lock_fd + 1, FDS_MAX)
    for fd in (FD_SECRETS, FD_DISK, ready_fd, lock_fd):
        try:  # noqa: SIM105
            os.set_inheritable(fd, False)
        except OSError:  # a job without a file system of its own
            pass
    fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.umask(0o077)
    Shim(folder, ready_fd).run()
