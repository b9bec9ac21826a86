"""Landlock: a process and all its children see the files that were named, and no others.

For the sandbox `container`, where no mount namespace does that; what else it has (no TCP, no
signals and abstract sockets out of the sandbox) comes along. Shim-side: the standard library only;
rules are `WHAT PATH`, see `bind`. In Linux since 5.13, usable since 5.19: before that nobody could
rename from one folder into another (firejail#6696).
https://docs.kernel.org/userspace-api/landlock.html, linux/landlock.h
"""

import os
import stat
import struct

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on x86_64 and aarch64
_ASK_VERSION = 1
_BENEATH = 1
ABI_LEAST = 2

_EXECUTE, _WRITE, _READ, _LIST = 1, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_MAKE_SOCK, _MAKE_FIFO, _MAKE_SYM, _REFER = 1 << 9, 1 << 10, 1 << 12, 1 << 13
_TRUNCATE, _IOCTL = 1 << 14, 1 << 15
_FILES = (1 << 14) - 1
_FILES_SINCE = ((3, _TRUNCATE), (5, _IOCTL))
_OF_A_FILE = _EXECUTE | _WRITE | _READ | _TRUNCATE | _IOCTL
_TCP, _TCP_SINCE = 0b11, 4  # bind, connect
_SCOPES, _SCOPES_SINCE = 0b11, 6  # abstract sockets, signals

_USE = _EXECUTE | _READ | _LIST
_OWN = (
    _USE | _WRITE | _TRUNCATE | _REFER | _REMOVE_DIR | _REMOVE_FILE
    | _MAKE_DIR | _MAKE_REG | _MAKE_SOCK | _MAKE_FIFO | _MAKE_SYM
)  # fmt: skip
RIGHTS = {"use": _USE, "own": _OWN, "device": _READ | _WRITE | _IOCTL}
"""What a rule gives: to run and read; to do as one likes; to speak to a device."""


def abi() -> int:
    """Which version of it the kernel has; 0: none, or it is switched off."""
    from swarmnode.executor.kernel.raw import system_call

    try:
        return system_call(_CREATE_RULESET, None, 0, _ASK_VERSION)
    except OSError:
        return 0


def trouble() -> str:
    """ "" when files can be shut off by it here, else why not and the remedy."""
    version = abi()
    if version >= ABI_LEAST:
        return ""
    lack = "an old Landlock" if version else "no Landlock"
    return (
        f"the kernel has {lack}: tasks of sandbox = container see what every user of the container "
        "may see; needs Linux 5.19 with landlock among its security modules (lsm=landlock,...)"
    )


def prepare(rules: "list[str]") -> int:
    """A descriptor of these rules, not in force yet; -1 where the kernel cannot. Raises OSError.

    What is not there is passed over. By whoever can reach every path; `bind` takes no path.
    """
    from swarmnode.executor.kernel.raw import system_call

    version = abi()
    if version < ABI_LEAST:
        return -1
    attributes = _attributes(version)
    ruleset = system_call(_CREATE_RULESET, attributes, len(attributes), 0)
    handled = int.from_bytes(attributes[:8], "little")
    for rule in rules:
        what, _, path = rule.partition(" ")
        _allow(ruleset, path, RIGHTS[what] & handled)
    return ruleset


def bind(ruleset: int) -> None:
    """From now on, for this process and what comes of it; needs no new privileges before.

    Raises OSError.
    """
    from swarmnode.executor.kernel.raw import system_call

    if ruleset >= 0:
        system_call(_RESTRICT_SELF, ruleset, 0)
        os.close(ruleset)


def _attributes(version: int) -> bytes:
    """struct landlock_ruleset_attr, as long as that version knows it."""
    files = _FILES | sum(right for since, right in _FILES_SINCE if version >= since)
    words = [files]
    if version >= _TCP_SINCE:
        words.append(_TCP)
    if version >= _SCOPES_SINCE:
        words.append(_SCOPES)
    return struct.pack(f"<{len(words)}Q", *words)


def _allow(ruleset: int, path: str, rights: int) -> None:
    from swarmnode.executor.kernel.raw import system_call

    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # not every machine has every one of them
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_A_FILE
        beneath = struct.pack("<Qi", rights, place)  # packed, as the kernel has it
        system_call(_ADD_RULE, ruleset, _BENEATH, beneath, 0)
    finally:
        os.close(place)
