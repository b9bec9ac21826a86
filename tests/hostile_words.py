"""What hostile tasks begin with, and how it is told that they came to nothing."""

from collections.abc import Callable

from tests.hostile_lab import Ended

SOCKETS = """
import errno, socket
def tried(*what):
    try: socket.socket(*what).close()
    except OSError as exc: return errno.errorcode[exc.errno]
    return "made"
"""

MEMORY = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
class Piece(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))
secret = ctypes.create_string_buffer(b"shared", 7)
def read(pid, address):
    into = ctypes.create_string_buffer(7)
    here, there = Piece(ctypes.addressof(into), 6), Piece(address, 6)
    count = libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
    return into.value.decode() if count == 6 else os.strerror(ctypes.get_errno())
"""

WRITE = """
import array, errno, os, socket, sys, time
block = bytes(1 << 20)
written = 0
def write(fd, mib):
    global written
    for _ in range(mib):
        written += os.write(fd, block)
def fresh(name="f"):
    return os.open(name, os.O_CREAT | os.O_RDWR | os.O_TRUNC)
def send(to, fd):
    rights = array.array("i", [fd])
    to.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
def until_refused(step, most=160):
    end = time.monotonic() + 6
    try:
        while written >> 20 < most and time.monotonic() < end: step()
    except OSError as exc:
        if exc.errno != errno.ENOSPC: raise
    print(written >> 20, flush=True)
"""


def is_within_its_disk(ended: Ended) -> bool:
    """It was refused more, or ended for it."""
    said = ended.out.split()
    return ended.reason == "disk" or (bool(said) and int(said[-1]) <= 36)


CALLS = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    ctypes.set_errno(0)
    if getattr(libc, name)(*arguments) >= 0: return name
    return errno.errorcode[ctypes.get_errno()]
def tried(step):
    try: step()
    except OSError as exc: return errno.errorcode[exc.errno]
    return "done"
"""

OUTSIDE = ("/usr/x", "/etc/x", "/x", "/run/swarm/x", "/sys/x", "/proc/x")
PRIVATE = ("/etc/shadow", "/root", "/home", "/var", "/etc/ssh", "/etc/ssl/private", "/dev/mem")
DEVICES = ("/dev/mem", "/dev/kmsg", "/dev/loop0", "/dev/loop-control", "/dev/kvm", "/dev/fuse")


def is_all(*allowed: str) -> Callable[[Ended], bool]:
    """It printed words, all of them among these."""
    return lambda ended: bool(ended.out.split()) and set(ended.out.split()) <= set(allowed)
