"""The `container` sandbox: a task as a user of its own, without namespaces.

For nodes that already live in a container where user namespaces are blocked. Shim-side and
between fork and exec: the standard library only. What protects here is the user id (one per
running job), no new privileges, the system-call filter (AF_UNIX sockets only), resource limits,
a state folder that no other user may enter and, where the kernel has it, Landlock: of the
container's files only its programs and settings stay in reach.
"""

import os

from swarmnode.executor.kernel import landlock
from swarmnode.executor.kernel.cgroup import SIGKILL
from swarmnode.executor.shim import stage

_PR_SET_PDEATHSIG = 1
_PR_SET_SECCOMP = 22
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CONTAINER_CAPABILITIES = {"CHOWN": 0, "DAC_OVERRIDE": 1, "KILL": 5, "SETGID": 6, "SETUID": 7}
"""linux/capability.h: what a node needs to run tasks as other users and to collect their files."""


def missing_capabilities(status: str, needed: "Mapping[str, int]") -> "list[str]":
    """Names of the needed capabilities that /proc/self/status says we lack."""
    held = 0
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            held = int(line.split()[1], 16)
    return [name for name, bit in needed.items() if not held >> bit & 1]


def adopt_orphans() -> None:
    """Descendants whose parent dies become children of this process: none gets away."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def become(uid: int, program: bytes, parent: int, paths: "list[str]") -> None:
    """Turn this freshly forked process into the task's user, for good. Raises OSError."""
    os.setsid()  # a group of its own, for SIGTERM
    ruleset = landlock.prepare(paths)
    stage.become(uid)
    _prctl(_PR_SET_PDEATHSIG, SIGKILL)  # after the change of user, which clears it
    if os.getppid() != parent:
        os._exit(125)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    landlock.bind(ruleset)
    _install(program)


def kill_user(uid: int, guard: int) -> None:
    """SIGKILL everything the user runs, at one instant; forks cannot slip through.

    The killer borrows only the effective id, so the job cannot signal it: its real and saved ids
    are `guard`, an id that nothing else uses.
    """
    _as_user(uid, guard, lambda: os.kill(-1, SIGKILL))


def remove_ipc(uid: int, guard: int) -> None:
    """What the user has made of System V's memory, queues and semaphores: they outlive processes,
    and the next task of that user could read them. Its creator may, whoever owns it by now.
    """
    made = [(remove, number) for kind, remove in _IPC for number in _made_by(uid, kind)]
    if made:
        import ctypes

        libc = ctypes.CDLL(None)  # before the fork
        _as_user(uid, guard, lambda: [getattr(libc, what)(number, 0, 0) for what, number in made])


_IPC = ("shm", "shmctl"), ("msg", "msgctl"), ("sem", "semctl")
"""Files of /proc/sysvipc, and the call that removes one: all of its other arguments are 0."""


def _made_by(uid: int, kind: str) -> "list[int]":
    """Numbers of those that are there; none where the kernel has no such thing."""
    try:
        with open(f"/proc/sysvipc/{kind}") as file:
            head, *lines = (line.split() for line in file)
    except FileNotFoundError:
        return []
    by = head.index("cuid")
    return [int(line[1]) for line in lines if int(line[by]) == uid]


def _as_user(uid: int, guard: int, work: "Callable[[], object]") -> None:
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresuid(guard, uid, guard)
            work()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def user_processes(uid: int) -> "list[int]":
    """Pids of what the user runs, zombies left out."""
    pids, wanted = [], str(uid).encode()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/status", "rb") as file:
                    text = file.read()
            except OSError:
                continue  # gone meanwhile
            ids = text.partition(b"\nUid:")[2].partition(b"\n")[0].split()
            if wanted in ids and text.partition(b"\nState:\t")[2][:1] != b"Z":
                pids.append(int(name))
    return pids


def _install(program: bytes) -> None:
    import ctypes

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_char_p))

    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(Filter(len(program) // 8, program)))


def _prctl(option: int, *arguments: object) -> None:
    import ctypes  # here, because it would cost every other shim four milliseconds

    libc = ctypes.CDLL(None, use_errno=True)
    padded = [*arguments, 0, 0, 0, 0][:4]
    unsigned = [
        ctypes.c_ulong(argument) if isinstance(argument, int) else argument for argument in padded
    ]
    if libc.prctl(ctypes.c_int(option), *unsigned) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
