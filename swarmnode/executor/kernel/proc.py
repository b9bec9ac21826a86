"""Single questions to /proc. Shim-side: imports nothing. Processes that are gone give nothing."""


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot: with the pid it names one process."""
    return _stat(pid, 19)


def parent_of(pid: int) -> int:
    """A process's parent."""
    return _stat(pid, 1)


def descends(pid: int, ancestors: "set[int]") -> bool:
    """Whether a process is one of these, or comes from one."""
    for _ in range(64):
        if pid in ancestors or pid <= 1:
            return pid > 1
        pid = parent_of(pid)
    return False


def times_of(pid: int) -> "tuple[int, int]":
    """When a process started, and what it has used of the processor itself, both in ticks."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rsplit(b")", 1)[1].split()
    except OSError:
        return 0, 0
    return int(fields[19]), int(fields[11]) + int(fields[12])


def _stat(pid: int, field: int) -> int:
    """A number behind the name in /proc/PID/stat, which may itself hold brackets; 0 when gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rsplit(b")", 1)[1].split()[field])
    except OSError:
        return 0


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or waits for nothing but its parent's wait(2)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rsplit(b")", 1)[1].split()[0] in b"ZX"
    except OSError:
        return True


def first_child(pid: int) -> int:
    """The oldest child of a process; 0 where there is none, or where the kernel does not tell."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
            return int((file.read(32).split() or [b"0"])[0])
    except OSError:
        return 0


def has_child(pid: int) -> bool:
    """Whether a process has started another; True, too, where the kernel does not tell."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
            return bool(file.read(1))
    except OSError:
        return True
