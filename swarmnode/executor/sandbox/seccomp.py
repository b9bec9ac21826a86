"""A system-call filter as classic BPF bytes, assembled here: no libseccomp is needed.

It is a deny list on top of no capabilities and no new privileges: what widens the kernel's attack
surface or undoes the sandbox answers EPERM. Layout of the program and of its input:
https://docs.kernel.org/userspace-api/seccomp_filter.html and linux/seccomp.h, linux/filter.h.
The same bytes serve `bwrap --seccomp FD` and prctl(PR_SET_SECCOMP).
"""

import errno
import struct
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from swarmnode.errors import ExecutorUnavailableError

# linux/bpf_common.h
_LOAD_WORD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_JUMP_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K

# linux/seccomp.h
_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000  # SECCOMP_RET_KILL_PROCESS
_ERRNO: Final = 0x00050000

# struct seccomp_data: nr, arch, instruction pointer, six 64-bit arguments (little endian)
_NR_AT: Final = 0
_ARCH_AT: Final = 4
_ARGS_AT: Final = 16

_X32_BIT: Final = 0x40000000
_CLONE_NEW_ANY: Final = 0x7E020000  # user, mount, cgroup, uts, ipc, pid and net namespaces
_TIOCSTI: Final = 0x5412  # types into the terminal of whoever started us (CVE-2017-5226)
_TIOCLINUX: Final = 0x541C
_RESERVE: Final = (0x40305828, 0x4030582A, 0x40305839)  # FS_IOC_RESVSP, RESVSP64, ZERO_RANGE
_UNREMOVABLE: Final = (
    *(0x50009401, 0x5000940E, 0x50009417, 0x50009418, 0x4008941A),  # BTRFS_IOC_SNAP_CREATE,
    # SUBVOL_CREATE, SNAP_CREATE_V2, SUBVOL_CREATE_V2, SUBVOL_SETFLAGS: snapshots that are read-only
    *(0x800C6613, 0xC0506617),  # FS_IOC_SET_ENCRYPTION_POLICY, ADD_ENCRYPTION_KEY: by a lost key
)
"""What a work folder on the machine's own disk could hold that its node cannot read or remove."""
_IOCTLS: Final = (_TIOCSTI, _TIOCLINUX, *_RESERVE, *_UNREMOVABLE)
_HIDDEN_SPACE: Final = (0x01, 0x11, 0x41)
"""Modes of fallocate that take space beyond a file's end, where RLIMIT_FSIZE does not reach: a log
lies outside the job's own file system. posix_fallocate asks for mode 0."""
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK, _NETLINK_ROUTE = 1, 2, 10, 16, 0
_FAMILIES: Final = (_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK)
"""AF_VSOCK, for one, knows no network namespace: it would reach the machine's hypervisor."""
_IO_PRIORITY_LEAST: Final = 2 << 13 | 7
"""ioprio_set(2): the last of the ordinary ones, as jobs have it; lower numbers go before the node's
and its owner's reads, higher ones wait for everybody."""
_WITHIN: Final = ("process_vm_readv", "process_vm_writev")
"""How processes of one MPI job pass data. Safe where the sandbox has a user namespace of its own:
the kernel lets a process do this to others of its user in there, and the filter to nobody else."""


class _Machine(msgspec.Struct, frozen=True):
    audit_arch: int
    has_x32: bool
    clone: int
    clone3: int
    ioctl: int
    socket: int
    socketpair: int
    fallocate: int
    ioprio_set: int
    denied: Mapping[str, int]


# arch/x86/entry/syscalls/syscall_64.tbl
_X86_64: Final = _Machine(
    audit_arch=0xC000003E, has_x32=True, clone=56, clone3=435, ioctl=16, socket=41,
    socketpair=53, fallocate=285, ioprio_set=251,
    denied={
        "ptrace": 101, "syslog": 103, "pivot_root": 155, "acct": 163, "settimeofday": 164,
        "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169,
        "iopl": 172, "ioperm": 173, "init_module": 175, "delete_module": 176, "quotactl": 179,
        "clock_settime": 227, "kexec_load": 246, "add_key": 248, "request_key": 249,
        "keyctl": 250, "unshare": 272, "perf_event_open": 298, "name_to_handle_at": 303,
        "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310,
        "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "kexec_file_load": 320,
        "bpf": 321, "userfaultfd": 323, "io_uring_setup": 425, "io_uring_enter": 426,
        "io_uring_register": 427, "open_tree": 428, "move_mount": 429, "fsopen": 430,
        "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_getfd": 438,
        "mount_setattr": 442,
    },
)  # fmt: skip

# include/uapi/asm-generic/unistd.h
_AARCH64: Final = _Machine(
    audit_arch=0xC00000B7, has_x32=False, clone=220, clone3=435, ioctl=29, socket=198,
    socketpair=199, fallocate=47, ioprio_set=30,
    denied={
        "umount2": 39, "mount": 40, "pivot_root": 41, "quotactl": 60, "acct": 89,
        "unshare": 97, "kexec_load": 104, "init_module": 105, "delete_module": 106,
        "clock_settime": 112, "syslog": 116, "ptrace": 117, "reboot": 142,
        "settimeofday": 170, "add_key": 217, "request_key": 218, "keyctl": 219, "swapon": 224,
        "swapoff": 225, "perf_event_open": 241, "name_to_handle_at": 264,
        "open_by_handle_at": 265, "clock_adjtime": 266, "setns": 268, "process_vm_readv": 270,
        "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "bpf": 280,
        "userfaultfd": 282, "kexec_file_load": 294, "io_uring_setup": 425,
        "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
        "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_getfd": 438,
        "mount_setattr": 442,
    },
)  # fmt: skip

MACHINES: Final[Mapping[str, _Machine]] = {"x86_64": _X86_64, "aarch64": _AARCH64}


def filter_program(machine: str, *, is_apart: bool = True, reserve_max: int = 1 << 40) -> bytes:
    """The filter for a machine as `os.uname().machine` names it.

    No more than `reserve_max` bytes of a file can be reserved at once: a folder that is measured
    may lie on any disk, and looking at it takes a moment. With `is_apart` False the task has
    no namespaces of its own: then only AF_UNIX sockets can be made. Raises
    ExecutorUnavailableError for a machine without a table.
    """
    table = _table_of(machine)
    program = _guard_machine(table) + _on_denied(table, is_apart=is_apart)
    # A filter cannot look into clone3's struct: ENOSYS makes the C library fall back to clone.
    program += _when_call(table.clone3, [_give(_RETURN, _ERRNO | errno.ENOSYS)])
    program += _when_call(table.clone, _refuse_bits(0, _CLONE_NEW_ANY))
    program += _when_call(table.ioctl, _refuse_values(1, _IOCTLS, errno.EPERM))
    program += _when_call(table.ioprio_set, _refuse_below(2, _IO_PRIORITY_LEAST, errno.EPERM))
    program += _on_reserving(table, reserve_max) + _on_sockets(table, is_apart=is_apart)
    return b"".join([*program, _give(_RETURN, _ALLOW)])


def _table_of(machine: str) -> _Machine:
    table = MACHINES.get(machine)
    if table is None:
        raise ExecutorUnavailableError(
            f"no system-call table for {machine}: tasks run on {' and '.join(sorted(MACHINES))}"
        )
    return table


def _on_denied(table: _Machine, *, is_apart: bool) -> list[bytes]:
    allowed = _WITHIN if is_apart else ()
    program = []
    for number in sorted(table.denied[name] for name in table.denied if name not in allowed):
        program += _when_call(number, [_give(_RETURN, _ERRNO | errno.EPERM)])
    return program


def _on_reserving(table: _Machine, reserve_max: int) -> list[bytes]:
    refuse = _refuse_values(1, _HIDDEN_SPACE, errno.EOPNOTSUPP)
    refuse += _refuse_from(2, reserve_max, errno.EFBIG) + _refuse_from(3, reserve_max, errno.EFBIG)
    return _when_call(table.fallocate, refuse)


def _on_sockets(table: _Machine, *, is_apart: bool) -> list[bytes]:
    if not is_apart:
        return _when_call(table.socket, _refuse_all_but(0, _AF_UNIX, errno.EPERM))
    pairs = _refuse_all_but(0, _AF_UNIX, errno.EAFNOSUPPORT)
    return [
        *_when_call(table.socket, _allow_families()),
        *_when_call(table.socketpair, pairs),
    ]


def _give(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One struct sock_filter."""
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _guard_machine(table: _Machine) -> list[bytes]:
    """Kill on calls of another architecture: their numbers mean other things."""
    program = [
        _give(_LOAD_WORD, _ARCH_AT),
        _give(_JUMP_EQUAL, table.audit_arch, if_true=1),
        _give(_RETURN, _KILL),
        _give(_LOAD_WORD, _NR_AT),
    ]
    if table.has_x32:
        program += [
            _give(_JUMP_AT_LEAST, _X32_BIT, if_false=1),
            _give(_RETURN, _ERRNO | errno.EPERM),
        ]
    return program


def _when_call(number: int, then: Sequence[bytes]) -> list[bytes]:
    """`then` for that call, which must return on every path or reload the number at its end."""
    return [_give(_JUMP_EQUAL, number, if_false=len(then)), *then]


def _refuse_bits(argument: int, bits: int) -> list[bytes]:
    return [
        _give(_LOAD_WORD, _ARGS_AT + 8 * argument),
        _give(_JUMP_ANY_BIT, bits, if_false=1),
        _give(_RETURN, _ERRNO | errno.EPERM),
        _give(_LOAD_WORD, _NR_AT),
    ]


def _refuse_values(argument: int, values: Sequence[int], error: int) -> list[bytes]:
    """Compare the low 32 bits only: that is all the kernel reads of them (CVE-2019-10063)."""
    program = [_give(_LOAD_WORD, _ARGS_AT + 8 * argument)]
    for value in values:
        program += [
            _give(_JUMP_EQUAL, value, if_false=1),
            _give(_RETURN, _ERRNO | error),
        ]
    return [*program, _give(_LOAD_WORD, _NR_AT)]


def _refuse_all_but(argument: int, value: int, error: int) -> list[bytes]:
    return [
        _give(_LOAD_WORD, _ARGS_AT + 8 * argument),
        _give(_JUMP_EQUAL, value, if_true=1),
        _give(_RETURN, _ERRNO | error),
        _give(_LOAD_WORD, _NR_AT),
    ]


def _refuse_from(argument: int, limit: int, error: int) -> list[bytes]:
    """A 64-bit argument that is not below the limit; words are 32 bits, the low one comes first."""
    high, low = limit >> 32, limit & 0xFFFFFFFF
    return [
        _give(_LOAD_WORD, _ARGS_AT + 8 * argument + 4),
        _give(_JUMP_AT_LEAST, high + 1, if_true=3),
        _give(_JUMP_EQUAL, high, if_false=3),
        _give(_LOAD_WORD, _ARGS_AT + 8 * argument),
        _give(_JUMP_AT_LEAST, low, if_false=1),
        _give(_RETURN, _ERRNO | error),
        _give(_LOAD_WORD, _NR_AT),
    ]


def _refuse_below(argument: int, least: int, error: int) -> list[bytes]:
    """Of an argument of 32 bits."""
    return [
        _give(_LOAD_WORD, _ARGS_AT + 8 * argument),
        _give(_JUMP_AT_LEAST, least, if_true=1),
        _give(_RETURN, _ERRNO | error),
        _give(_LOAD_WORD, _NR_AT),
    ]


def _allow_families() -> list[bytes]:
    """socket(family, type, protocol): four families, and of netlink what shows one's own routes."""
    route = _refuse_all_but(2, _NETLINK_ROUTE, errno.EPROTONOSUPPORT)
    known = [family for family in _FAMILIES if family != _AF_NETLINK]
    program = [
        _give(_LOAD_WORD, _ARGS_AT),
        _give(_JUMP_EQUAL, _AF_NETLINK, if_false=len(route)),
        *route[:-1],
        _give(_RETURN, _ALLOW),
    ]
    program += [
        _give(_JUMP_EQUAL, family, if_true=len(known) - place) for place, family in enumerate(known)
    ]
    program += [_give(_RETURN, _ERRNO | errno.EAFNOSUPPORT), _give(_LOAD_WORD, _NR_AT)]
    return program
