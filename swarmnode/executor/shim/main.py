"""One small process per job that outlives the node: starts the sandbox, limits it, notes its end.

Started by `door`, in a session of its own, holding the job's lock file: whoever can take that
lock knows that the shim is gone. It talks to the node by
files of the job folder only, so a node that was killed finds everything where it left it:

    order     what to run and within which limits (written by the node, read once)
    control   FIFO; the node writes `stop GRACE_SECONDS` and `lease UNTIL NOTICE`, see lease.py
    state     pid and start of shim and job, once the job runs
    exit      how it ended, written last and fsynced
    stdout, stderr                what the job printed, see logs.py
    shim.log

It imports little, so that it starts in milliseconds. If it dies, the sandbox dies with it.
"""

import fcntl
import os
import resource
import select
import time

from swarmnode.executor.disk import disk_use, work_use
from swarmnode.executor.kernel.cgroup import send_signal
from swarmnode.executor.kernel.proc import has_child, start_ticks
from swarmnode.executor.shim import pairs, uid_mode
from swarmnode.executor.shim.child import (
    CODE_CANNOT_EXECUTE,
    CODE_CANNOT_START,
    CODE_NOT_FOUND,
    become_staged,
    code_of_failure,
    execute,
    lower,
    number_after,
    say_and_exit,
    use_cpus,
)
from swarmnode.executor.shim.cpu_use import CpuUse
from swarmnode.executor.shim.disk_watch import DiskWatch
from swarmnode.executor.shim.lease import Lease
from swarmnode.executor.shim.logs import Logs
from swarmnode.executor.shim.order import Order

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # without the enums of `signal`, which cost five milliseconds

FD_DISK = 29
"""Where the shim finds the job's file system, if it has one; mounted nowhere yet."""
FD_ARGS, FD_SECCOMP, FD_STATUS, FD_BLOCK = 40, 41, 42, 43
"""Numbers under which bubblewrap finds its files; the node names them in its arguments."""

_SIGTERM_GRACE_S = 10.0
_KILL_TIMEOUT_S = 5.0
_TICK_S, _RETRY_S, FDS_MAX = 0.25, 0.01, 1 << 20
_FSIZE_SLACK_BYTES = 1 << 20


class Shim:
    """The life of one job."""

    def __init__(self, folder: str, ready_fd: int) -> None:
        self._folder = folder
        self._ready_fd = ready_fd  # says to the node that the job runs; closed then
        self._order = Order(pairs.read_pairs(folder + "/order"))
        if not self._order.has_disk:
            os.closerange(FD_DISK, FD_DISK + 1)  # nothing of ours, then
        self._control = os.open(folder + "/control", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self._status = self._block = -1  # pipes: what bubblewrap reports; what lets it go on
        self._child = self._pid = 0  # what we forked; the job's first process, once it is known
        self._said = b""  # all of the report
        self._reason = ""  # why we end the job; empty while it may end by itself
        self._started_s = time.monotonic()
        self._kill_at_s = self._started_s + self._order.wall_s  # a stop brings it nearer
        self._kill_reason = "wall"  # why, should that come
        self._look_at_s = 0.0  # when disk and memory are looked at next
        self._lease = Lease(self._order.lease)
        self._disk = DiskWatch(
            folder,
            self._order.disk_bytes + (0 if self._order.has_disk else self._order.given_bytes),
            self._order.entries_max,
            FD_DISK if self._order.has_disk else -1,
        )
        self._logs = Logs(folder, self._order.log_bytes)
        self._cpu = CpuUse()
        self._is_killed = self._notice_due = False  # SIGKILL was sent; SIGTERM is to be sent
        self._wait_status: int | None = None  # of `_child`, with `_rusage`: None while it lives
        self._rusage: resource.struct_rusage | None = None

    def run(self) -> None:
        """Start the job, see it to its end, write the exit file, clean up."""
        if self._order.is_container:
            uid_mode.adopt_orphans()
        self._spawn()
        if self._order.is_container:
            self._announce(self._child)
        poll = select.poll()
        for fd in (self._wake, self._control, self._status):
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        self._logs.watch(poll)
        while self._wait_status is None:
            self._wait(poll)
            self._reap()
            if self._wait_status is None:
                self._check_limits()
        self._end()

    def _spawn(self) -> None:
        order = self._order
        parent = os.getpid()
        filter_fd = os.open(order.seccomp, os.O_RDONLY | os.O_CLOEXEC)
        program = os.read(filter_fd, 1 << 20) if order.is_container else b""
        status_read, status_write = os.pipe2(os.O_CLOEXEC)
        fds = {FD_SECCOMP: filter_fd, FD_STATUS: status_write}
        if order.bwrap_args:
            fds[FD_ARGS] = os.open(order.bwrap_args, os.O_RDONLY | os.O_CLOEXEC)
        if order.pids_rlimit:
            fds[FD_BLOCK], self._block = os.pipe2(os.O_CLOEXEC)
        self._child = os.fork()
        if self._child == 0:
            try:
                order.cgroup.enter()
                self._redirect()
                self._limit_resources()
                if order.is_container:
                    os.chdir(self._folder + "/work")
                    uid_mode.become(order.uid, program, parent)
                else:
                    for number, fd in fds.items():
                        os.dup2(fd, number)
                    if order.uid:
                        become_staged(order.uid, order.stage)
                execute(order.argv, order.env)
            except FileNotFoundError as exc:
                say_and_exit(f"swarm: {order.argv[0]}: {exc.strerror}", CODE_NOT_FOUND)
            except OSError as exc:
                say_and_exit(f"swarm: {order.argv[0]}: {exc.strerror}", CODE_CANNOT_EXECUTE)
            finally:
                os._exit(CODE_CANNOT_START)
        for fd in fds.values():
            os.close(fd)
        os.set_blocking(status_read, False)
        self._status = status_read

    def _redirect(self) -> None:
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        self._logs.hand_over(self._order.uid)

    def _limit_resources(self) -> None:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        order = self._order
        use_cpus(order.cpus)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # One file alone cannot pass all limits before the next look; scratch lies in memory.
        disk_bytes = order.disk_bytes + order.given_bytes  # an input may be changed in its place
        largest = max(disk_bytes, order.memory_bytes) + _FSIZE_SLACK_BYTES
        lower(resource.RLIMIT_FSIZE, largest, largest)
        lower(resource.RLIMIT_NOFILE, 1024, order.nofile)
        if order.is_container and order.pids_rlimit:
            lower(resource.RLIMIT_NPROC, order.pids_rlimit, order.pids_rlimit)

    def _wait(self, poll: "select.poll") -> None:
        tick_s = _RETRY_S if self._notice_due else _TICK_S
        now_s = time.monotonic()
        left_s = min(tick_s, max(0.0, self._kill_at_s - now_s), self._logs.wake(now_s, poll))
        for fd, _ in poll.poll(left_s * 1000 + 1):
            if fd == self._wake:
                os.read(fd, 4096)
            elif fd == self._control:
                self._obey(os.read(fd, 1 << 16))
            elif fd == self._status:
                self._hear(poll)
            else:
                self._hear_log(fd, poll)

    def _hear_log(self, fd: int, poll: "select.poll") -> None:
        try:
            self._logs.hear(fd, poll)
        except OSError:  # the machine's disk is full: nothing the job does could be kept
            self._kill("lost")
        if self._logs.is_over:
            self._kill("log")

    def _hear(self, poll: "select.poll") -> None:
        """bubblewrap reports the job's pid, later its exit code, one JSON object a line."""
        said = os.read(self._status, 65536)
        if not said:
            poll.unregister(self._status)
        self._said += said
        pid = number_after(self._said, b'"child-pid":')
        if pid and not self._pid:
            if self._order.pids_rlimit:
                limit = self._order.pids_rlimit
                resource.prlimit(pid, resource.RLIMIT_NPROC, (limit, limit))
                os.write(self._block, b"x")
            self._announce(pid)

    def _announce(self, pid: int) -> None:
        """Tell the node, and any node after it, that the job runs."""
        self._pid = pid
        shim = os.getpid()
        started_ms = time.time_ns() // 1_000_000
        state = {
            "shim": shim, "shim_start": start_ticks(shim),
            "pid": pid, "pid_start": start_ticks(pid), "started_ms": started_ms,
        }  # fmt: skip
        pairs.write_pairs(
            self._folder + "/state", [(k, str(v)) for k, v in state.items()], durable=False
        )
        try:  # noqa: SIM105  (contextlib costs a millisecond)
            os.write(self._ready_fd, b"started")
        except BrokenPipeError:  # that node is gone; the next one reads the file
            pass
        os.close(self._ready_fd)

    def _on_sigterm(self, _number: int, _frame: object) -> None:
        """The machine goes down: the job gets its notice, too."""
        self._stop(_SIGTERM_GRACE_S)

    def _obey(self, orders: bytes) -> None:
        for line in orders.splitlines():
            word, _, rest = line.partition(b" ")
            if word == b"stop":
                self._stop(float(rest))
            elif word == b"lease":
                self._lease.renew(rest)

    def _stop(self, grace_s: float) -> None:
        at_s = time.monotonic() + grace_s
        if at_s < self._kill_at_s:
            self._kill_at_s = at_s
        if not self._reason:
            self._reason = self._kill_reason = "killed"
            self._notice_due = grace_s > 0
            self._give_notice()

    def _give_notice(self) -> None:
        """SIGTERM, once a program is there to hear it: the first process of a sandbox is deaf."""
        if self._notice_due and self._pid and (self._order.is_container or has_child(self._pid)):
            self._notice_due = not send_signal(-self._pid, signal.SIGTERM)

    def _check_lease(self) -> None:
        if self._lease.is_over() and self._kill_reason != "lease":
            self._kill("lease")
        elif self._lease.is_ending() and not (self._lease.was_noticed or self._reason):
            self._lease.was_noticed = self._notice_due = True

    def _check_limits(self) -> None:
        self._check_lease()
        self._give_notice()
        now_s = time.monotonic()
        if now_s >= self._kill_at_s:
            self._kill(self._kill_reason)
        elif now_s >= self._look_at_s:  # and not for every line that the job prints
            self._look_at_s = now_s + _TICK_S
            self._look(now_s)

    def _look(self, now_s: float) -> None:
        if self._order.cgroup.oom_kills():
            self._kill("oom")
        elif reason := self._disk.verdict(now_s, self._processes):
            self._kill(reason)
        if not self._order.cgroup.dirs:
            self._cpu.look(now_s, self._processes)

    def _processes(self) -> "list[int]":
        """Host pids of the job, from whatever there is to know them by."""
        if self._order.cgroup.dirs:
            return self._order.cgroup.processes()
        if self._order.is_container:
            return uid_mode.user_processes(self._order.uid)
        return disk_use.namespace_members(self._pid) if self._pid else []

    def _kill(self, reason: str) -> None:
        """End everything. Killing the first process of a pid namespace takes all of it along."""
        if not (self._is_killed or self._order.cgroup.dirs):
            self._cpu.look_again(self._processes)
        self._reason = reason
        self._kill_at_s = time.monotonic() + 1.0  # again, should anything be left
        # bubblewrap outside is left alone at first: it hands on what the inside used of the CPU.
        inside = 0 if self._order.is_container else self._pid
        for pid in (inside, self._child) if self._is_killed or not inside else (inside,):
            if pid:
                send_signal(pid, signal.SIGKILL)
        self._is_killed = True
        self._kill_reason = reason
        self._order.cgroup.kill(_KILL_TIMEOUT_S)

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._child:
                self._wait_status, self._rusage = status, usage

    def _end(self) -> None:
        wall_s = time.monotonic() - self._started_s
        order = self._order
        left_none = order.cgroup.kill(_KILL_TIMEOUT_S) and self._kill_adopted()
        self._hear_rest()
        oom = order.cgroup.oom_kills() > 0
        code, reason = self._verdict()
        if reason in ("exit", "signal"):
            if oom and code:
                reason = "oom"
            elif over := self._disk.final(self._processes):
                reason = over
            elif order.has_disk and not work_use.is_whole(self._folder, FD_DISK):
                reason = "lost"
        usage = self._rusage
        cpu_s = self._cpu.total_s(usage.ru_utime + usage.ru_stime if usage else 0.0)
        peak = usage.ru_maxrss * 1024 if usage else 0
        pairs.write_pairs(
            self._folder + "/exit",
            [
                ("code", str(code)),
                ("reason", reason),
                ("wall_s", f"{wall_s:.6f}"),
                ("cpu_s", f"{order.cgroup.cpu_s() or cpu_s:.6f}"),
                ("memory_peak_bytes", str(order.cgroup.memory_peak_bytes() or peak)),
                ("enforced", order.enforced),
            ],
            durable=True,
        )
        if left_none:
            order.cgroup.remove()

    def _kill_adopted(self) -> bool:
        """Without a pid namespace: everything the job's user runs, and everything we adopted."""
        order = self._order
        if not order.is_container:
            return True
        deadline_s = time.monotonic() + _KILL_TIMEOUT_S
        while uid_mode.user_processes(order.uid):
            uid_mode.kill_user(order.uid, order.guard_uid)
            self._reap()
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.002)
        return True

    def _hear_rest(self) -> None:
        try:
            while said := os.read(self._status, 65536):
                self._said += said
        except BlockingIOError:
            pass
        try:
            self._logs.hear_rest()
        except OSError:
            self._reason = self._reason or "lost"
        if self._logs.is_over:
            self._reason = self._reason or "log"

    def _verdict(self) -> "tuple[int, str]":
        """Exit code as a shell would show it, and why it ended."""
        code = os.waitstatus_to_exitcode(status := self._wait_status or 0)
        if code < 0:
            code = 128 - code
        if self._reason:
            return code, self._reason
        if self._lease.was_noticed and (code or self._lease.is_ending()):
            return code, "lease"
        if self._order.is_container:
            return code, "signal" if os.WIFSIGNALED(status) else "exit"
        if b'"exit-code":' in self._said:
            return code, "signal" if 128 < code <= 192 else "exit"
        if code > 128:
            return code, "signal"
        return code_of_failure(self._folder + "/stderr"), "exit"


def main(folder: str, ready_fd: int, lock_fd: int) -> None:
    """Body of the process. The lock is ours already: the node took it and handed it on."""
    os.closerange(3, FD_DISK)
    os.closerange(lock_fd + 1, FDS_MAX)
    for fd in (FD_DISK, ready_fd, lock_fd):
        try:  # noqa: SIM105
            os.set_inheritable(fd, False)
        except OSError:  # a job without a file system of its own
            pass
    fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.umask(0o077)
    Shim(folder, ready_fd).run()
