"""The process that a shim forks for its job, seen from the shim. Shim-side: imports little.

In a container it is the job itself. Else it is bubblewrap, which reports the pid of the job's first
process, later its exit code, one JSON object a line.
"""

import os
import resource
import time

from swarmnode.executor.disk import disk_use
from swarmnode.executor.kernel.cgroup import send_signal
from swarmnode.executor.kernel.proc import first_child, has_child, has_ended
from swarmnode.executor.shim import uid_mode
from swarmnode.executor.shim.child import (
    CODE_CANNOT_EXECUTE,
    CODE_CANNOT_START,
    CODE_NOT_FOUND,
    be_the_job,
)
from swarmnode.executor.shim.order import FD_ARGS, FD_BLOCK, FD_HATCH, FD_SECCOMP, FD_STATUS
from swarmnode.executor.shim.secret_files import FD_SECRETS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal

    from swarmnode.executor.shim.logs import Logs
    from swarmnode.executor.shim.order import Order
else:
    import _signal as signal  # without the enums of `signal`, which cost five milliseconds

KILL_TIMEOUT_S = 5.0
"""swarmnode.limits says so, too; it is not imported here, as each shim would pay for it."""
_REPORT_BYTES = 65536
_HELP_S = 0.5
"""At a time: something else may end the job meanwhile."""


class ShimProcess:
    """Forked once, by `start`; everything it brings forth belongs to it."""

    def __init__(self, folder: str, order: "Order") -> None:
        self._folder = folder
        self._order = order
        self._sandbox = order.sandbox
        self._child = 0
        """What we forked."""
        self.pid = 0
        """The job's first process; 0 until it is known, which is at once in a container."""
        self._program = 0
        """Below bubblewrap's: that of the task's command, once it was seen."""
        self._was_over = False
        """That was seen to have ended, and bubblewrap has not come to say so."""
        self.report_fd = -1
        """Where bubblewrap reports, from the start on; silent in a container."""
        self._block_fd = -1
        """A byte into it lets bubblewrap go on; -1 where it waits for none."""
        self.held: dict[bytes, list[int]] = {}
        """Descriptors of its network and datasets, by what a node asks for them with; from the
        start on."""
        self._said = b""
        """All of the report until now."""
        self._wait_status: int | None = None
        """Of `_child`, set by `reap`: None while it lives."""
        self._usage: resource.struct_rusage | None = None
        """What it used, by wait(2); comes with `_wait_status`."""

    @property
    def lives(self) -> bool:
        """Until `reap` has taken its end."""
        return self._wait_status is None

    def start(self, logs: "Logs") -> None:
        """Fork, with what is printed going to `logs`."""
        if self._sandbox.is_container:
            uid_mode.adopt_orphans()
        parent = os.getpid()
        fds = self._opened()
        sandbox = self._sandbox
        kinds = sandbox.has_net + sandbox.data.has_web + bool(sandbox.data.mounts)
        if kinds:
            from swarmnode.executor.shim import hatch  # here: most jobs have none

            ours, fds[FD_HATCH] = hatch.pair()
        self._child = os.fork()
        if self._child == 0:
            be_the_job(self._order, self._folder, logs, fds, parent)
        for fd in fds.values():
            os.close(fd)
        if self._sandbox.has_secrets:
            os.close(FD_SECRETS)
        if kinds:
            self.held = hatch.take(ours, kinds)
        if self._sandbox.is_container:
            self.pid = self._child

    def _opened(self) -> "dict[int, int]":
        """What the child is to have, by the number that it knows it under."""
        sandbox = self._sandbox
        self.report_fd, report_write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.report_fd, False)
        fds = {
            FD_SECCOMP: os.open(sandbox.seccomp, os.O_RDONLY | os.O_CLOEXEC),
            FD_STATUS: report_write,
        }
        if sandbox.bwrap_args:
            fds[FD_ARGS] = os.open(sandbox.bwrap_args, os.O_RDONLY | os.O_CLOEXEC)
        if self._order.allowance.pids_rlimit:
            fds[FD_BLOCK], self._block_fd = os.pipe2(os.O_CLOEXEC)
        return fds

    def hear(self) -> bool:
        """Take what is there of the report; False at its end."""
        said = os.read(self.report_fd, _REPORT_BYTES)
        self._said += said
        pid = _number_after(self._said, b'"child-pid":')
        if pid and not self.pid:
            self._let_go_on(pid)
            self.pid = pid
        return bool(said)

    def _let_go_on(self, pid: int) -> None:
        """The job's first process waits for the one limit that it cannot be given before."""
        limit = self._order.allowance.pids_rlimit
        if limit:
            resource.prlimit(pid, resource.RLIMIT_NPROC, (limit, limit))
            os.write(self._block_fd, b"x")

    def reap(self) -> None:
        """Take the ends of all that ended: it, and what we adopted."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._child:
                self._wait_status, self._usage = status, usage

    def all_pids(self) -> "list[int]":
        """Host pids of the job, from whatever there is to know them by."""
        if self._sandbox.cgroup.dirs:
            return self._sandbox.cgroup.processes()
        if self._sandbox.is_container:
            return uid_mode.user_processes(self._sandbox.uid)
        return disk_use.namespace_members(self.pid) if self.pid else []

    def terminate(self) -> bool:
        """SIGTERM, once a program is there to hear it: the first process of a sandbox is deaf."""
        return self.hear_signal(signal.SIGTERM)

    def hear_signal(self, number: int) -> bool:
        """As above, of any signal; whether somebody was there to hear it."""
        hears = self.pid and (self._sandbox.is_container or has_child(self.pid))
        return bool(hears) and send_signal(-self.pid, number)

    def kill(self, *, again: bool) -> None:
        """End everything. Killing the first process of a pid namespace takes all of it along."""
        # bubblewrap outside is left alone at first: it hands on what the inside used of the CPU.
        inside = 0 if self._sandbox.is_container else self.pid
        for pid in (inside, self._child) if again or not inside else (inside,):
            if pid:
                send_signal(pid, signal.SIGKILL)
        self._sandbox.cgroup.kill(KILL_TIMEOUT_S)

    def help_to_end(self) -> None:
        """See to it that bubblewrap comes to say that the task's command has ended.

        It starves among a thousand processes that the command left behind: those are killed. Called
        now and then; what has only just ended is given until the next time.
        """
        if self._sandbox.is_container or not self.pid:
            return
        self._program = self._program or first_child(self.pid)
        is_over = self._program > 0 and has_ended(self._program)
        if is_over and self._was_over:
            self._kill_all_but_bubblewrap()
        self._was_over = is_over

    def _kill_all_but_bubblewrap(self) -> None:
        deadline_s = time.monotonic() + _HELP_S
        while self._others() and time.monotonic() < deadline_s:
            self._sandbox.cgroup.kill_some(self._others)
            time.sleep(0.005)

    def _others(self) -> "list[int]":
        return [pid for pid in self.all_pids() if pid not in (self._child, self.pid)]

    def kill_rest(self) -> bool:
        """It has ended: kill what it left behind; whether nothing is left now."""
        return self._sandbox.cgroup.kill(KILL_TIMEOUT_S) and self._kill_adopted()

    def _kill_adopted(self) -> bool:
        """Without a pid namespace: everything the job's user runs, and everything we adopted."""
        uid = self._sandbox.uid
        if not self._sandbox.is_container:
            return True
        deadline_s = time.monotonic() + KILL_TIMEOUT_S
        self.reap()  # of a thousand that are dead none is worth a look
        while uid_mode.user_processes(uid):
            uid_mode.kill_user(uid, self._sandbox.guard_uid)
            self.reap()
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.01)
        return True

    def hear_rest(self) -> None:
        """Nothing of it lives: take the rest of the report."""
        try:
            while said := os.read(self.report_fd, _REPORT_BYTES):
                self._said += said
        except BlockingIOError:
            pass

    def cpu_s(self) -> float:
        """Processor seconds it used, by wait(2)."""
        return self._usage.ru_utime + self._usage.ru_stime if self._usage else 0.0

    def memory_peak_bytes(self) -> int:
        """The most memory that one process of it held, by wait(2)."""
        return self._usage.ru_maxrss * 1024 if self._usage else 0

    def code(self) -> int:
        """Exit code as a shell would show it."""
        code = os.waitstatus_to_exitcode(self._wait_status or 0)
        return 128 - code if code < 0 else code

    def own_end(self) -> "tuple[int, str]":
        """Exit code and how it ended, nobody having ended it."""
        code = self.code()
        if self._sandbox.is_container:
            return code, "signal" if os.WIFSIGNALED(self._wait_status or 0) else "exit"
        if b'"exit-code":' in self._said:
            return code, "signal" if 128 < code <= 192 else "exit"
        if code > 128:
            return code, "signal"
        return _code_of_failure(self._folder + "/stderr"), "exit"


def _code_of_failure(stderr: str) -> int:
    """bubblewrap itself gave up; its last words say why."""
    with open(stderr, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
        words = file.read().rsplit(b"bwrap: ", 1)[-1]
    if not words.startswith(b"execvp "):
        return CODE_CANNOT_START
    return CODE_NOT_FOUND if b"No such file" in words else CODE_CANNOT_EXECUTE


def _number_after(text: bytes, key: bytes) -> int:
    """A number in what bubblewrap reports as JSON, by what stands before it; 0 if none."""
    _, known, rest = text.partition(key)
    digits = rest.strip().split(b",")[0].split(b"}")[0].strip() if known else b""
    return int(digits) if digits.isdigit() else 0
