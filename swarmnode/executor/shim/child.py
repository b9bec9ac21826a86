"""What a shim's child does between fork and exec. The standard library only, and little of it."""

import os
import resource

from swarmnode.executor.shim import secret_files, stage, uid_mode
from swarmnode.executor.shim.order import FD_HATCH, FD_SECCOMP

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import NoReturn

    from swarmnode.executor.shim.logs import Logs
    from swarmnode.executor.shim.order import Allowance, Order, Sandbox
else:
    import _signal as signal  # without the enums of `signal`, which cost five milliseconds

CODE_CANNOT_START, CODE_CANNOT_EXECUTE, CODE_NOT_FOUND = 125, 126, 127  # as docker run
_FSIZE_SLACK_BYTES = 1 << 20
_UMASK = 0o022
"""What a login gives: results come home as readable as a run there would leave them. Meanwhile
nobody else passes the folder above."""
_KEPT_SIGNALS = frozenset({signal.SIGKILL, signal.SIGSTOP, signal.SIGXFSZ})
"""Two that nobody may change; the last stays ignored, as Python has it: a job that writes past its
largest file is told so by the write, and may say what it was about."""


def be_the_job(
    order: "Order", folder: str, logs: "Logs", fds: "dict[int, int]", parent: int
) -> "NoReturn":
    """Turn this freshly forked process into the job. `fds`: what it is to have, by number."""
    try:
        order.sandbox.cgroup.enter()
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        logs.hand_over(order.sandbox.uid)
        _hear_signals()
        os.umask(_UMASK)
        _limit(order.allowance, is_container=order.sandbox.is_container)
        _shut_in(order.sandbox, folder, fds, parent)
        _execute(order.argv, order.env)
    except FileNotFoundError as exc:
        _say_and_exit(f"swarm: {order.argv[0]}: {exc.strerror}", CODE_NOT_FOUND)
    except OSError as exc:
        _say_and_exit(f"swarm: {order.argv[0]}: {exc.strerror}", CODE_CANNOT_EXECUTE)
    finally:
        os._exit(CODE_CANNOT_START)


def _shut_in(sandbox: "Sandbox", folder: str, fds: "dict[int, int]", parent: int) -> None:
    """In a container be the job's user; else be ready to become bubblewrap."""
    if sandbox.is_container:
        os.chdir(folder + "/work")
        program = os.read(fds[FD_SECCOMP], 1 << 20)
        uid_mode.become(sandbox.uid, program, parent, sandbox.paths)
        return
    if sandbox.note:
        os.write(2, sandbox.note.encode(errors="replace") + b"\n")
    hatch = fds.pop(FD_HATCH, -1)
    for number, fd in fds.items():
        os.dup2(fd, number)
    if sandbox.has_secrets:
        secret_files.hand_over()
    if sandbox.has_net or sandbox.data.has_web:
        _have_net(hatch, sandbox)
    try:
        if sandbox.uid:
            _become_staged(sandbox, hatch)
        elif sandbox.data.mounts or sandbox.system:
            devices = stage.mount_at(sandbox.data.mounts, sandbox.system)
            if devices:
                _hand_out(hatch, devices)
    except OSError as exc:
        _say_and_exit(f"swarm: the sandbox: {exc.strerror}", CODE_CANNOT_START)


def _have_net(fd: int, sandbox: "Sandbox") -> None:
    """Be in a network that leads to our node and nowhere else."""
    from swarmnode.executor.shim import hatch  # here: most jobs have none
    from swarmnode.executor.shim.net import space

    is_root = bool(sandbox.uid)
    try:
        if sandbox.has_net:
            sockets = space.make(is_root=is_root)
            hatch.hand_out(fd, hatch.SOCKETS, [sock.fileno() for sock in sockets])
        else:
            space.make_empty(is_root=is_root)
        if sandbox.data.has_web:
            listener = space.web_listener()
            hatch.hand_out(fd, hatch.WEB, [listener.fileno()])
    except OSError as exc:
        _say_and_exit(f"swarm: the task's network: {exc.strerror}", CODE_CANNOT_START)


def _become_staged(sandbox: "Sandbox", hatch: int) -> None:
    """Lay out what the job may see, then be its user."""
    devices = stage.lay_out(sandbox.stage, sandbox.uid)
    if devices:
        _hand_out(hatch, devices)
    stage.become(sandbox.uid)


def _hand_out(fd: int, devices: "list[int]") -> None:
    from swarmnode.executor.shim import hatch  # here: most jobs have none

    hatch.hand_out(fd, hatch.MOUNTS, devices)


def _hear_signals() -> None:
    """Whatever the node's starter ignores or blocks (nohup, a shell's `&`) is no affair of jobs."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - _KEPT_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _limit(allowance: "Allowance", *, is_container: bool) -> None:
    _use_cpus(allowance.cpus)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # One file alone cannot pass all limits before the next look; scratch lies in memory.
    disk_bytes = allowance.disk_bytes + allowance.given_bytes  # an input may be changed in place
    largest = max(disk_bytes, allowance.memory_bytes) + _FSIZE_SLACK_BYTES
    _lower(resource.RLIMIT_FSIZE, largest, largest)
    _lower(resource.RLIMIT_NOFILE, 1024, allowance.nofile)
    if is_container and allowance.pids_rlimit:
        _lower(resource.RLIMIT_NPROC, allowance.pids_rlimit, allowance.pids_rlimit)


def _execute(argv: "list[str]", env: "dict[str, str]") -> None:
    """As os.execvpe, which imports a module that the job's user may not be allowed to read."""
    folders = [""] if "/" in argv[0] else [f + "/" for f in env.get("PATH", "").split(":")]
    failure: OSError = FileNotFoundError(2, "No such file or directory")
    for folder in folders:
        try:
            os.execve(folder + argv[0], argv, env)  # noqa: S606
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as exc:
            failure = exc
    raise failure


def _lower(which: int, soft: int, hard: int) -> None:
    """Lower a limit; never ask for more than we were given ourselves."""
    _, ceiling = resource.getrlimit(which)
    if ceiling != resource.RLIM_INFINITY:
        hard = min(hard, ceiling)
    resource.setrlimit(which, (min(soft, hard), hard))


def _use_cpus(cpus: "list[int]") -> None:
    """Run on these processors, as far as they are still there."""
    try:  # noqa: SIM105
        os.sched_setaffinity(0, cpus or os.sched_getaffinity(0))
    except OSError:
        pass


def _say_and_exit(words: str, code: int) -> None:
    """Last words in the job's stderr."""
    os.write(2, words.encode(errors="replace") + b"\n")
    os._exit(code)
