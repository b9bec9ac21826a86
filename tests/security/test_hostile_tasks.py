"""Hostile tasks, each tried on a node of root and on one of a plain user: all come to nothing."""

from pathlib import Path

import pytest

from tests.hostile_lab import Ended, Try, run_tries
from tests.job_lab import needs_bwrap, needs_python

pytestmark = [needs_bwrap, needs_python]

_SOCKETS = """
import errno, socket
def tried(*what):
    try: socket.socket(*what).close()
    except OSError as exc: return errno.errorcode[exc.errno]
    return "made"
"""

_MEMORY = """
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

_WRITE = """
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


TRIES = [
    Try(
        "disk in files that are under way between sockets",
        _WRITE
        + "a, b = socket.socketpair()\n"
        + "def step():\n"
        + "    fd = fresh(); os.unlink('f'); write(fd, 16)\n"
        + "    send(a, fd); os.close(fd); time.sleep(0.2)\n"
        + "until_refused(step); time.sleep(4)",
        is_within_its_disk,
    ),
    Try(
        "disk in sockets that are themselves under way",
        _WRITE
        + "a, b = socket.socketpair()\n"
        + "def step():\n"
        + "    fd = fresh(); os.unlink('f'); write(fd, 16)\n"
        + "    c, d = socket.socketpair(); send(c, fd); send(a, c.fileno()); send(a, d.fileno())\n"
        + "    os.close(fd); c.close(); d.close(); time.sleep(0.2)\n"
        + "until_refused(step); time.sleep(4)",
        is_within_its_disk,
    ),
    Try(
        "disk in deleted files that stay open",
        _WRITE
        + "def step(): fd = fresh(); os.unlink('f'); write(fd, 8); time.sleep(0.1)\n"
        + "until_refused(step); time.sleep(2)",
        is_within_its_disk,
    ),
    Try(
        "disk in deleted files that are mapped and closed",
        _WRITE
        + "import mmap\n"
        + "maps = []\n"
        + "def step():\n"
        + "    fd = fresh(); os.unlink('f'); write(fd, 8)\n"
        + "    maps.append(mmap.mmap(fd, 8 << 20)); os.close(fd); time.sleep(0.1)\n"
        + "until_refused(step); time.sleep(2)",
        is_within_its_disk,
    ),
    Try(
        "disk beyond the end of files, and of its own log",
        "import ctypes, os\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def keep(fd, mode):\n"
        "    done = libc.fallocate(fd, mode, ctypes.c_long(0), ctypes.c_long(64 << 20))\n"
        "    print('took' if done == 0 else ctypes.get_errno())\n"
        "f = os.open('f', os.O_CREAT | os.O_RDWR)\n"
        "for fd in (1, 2, f): keep(fd, 1); keep(fd, 0x11)\n",
        lambda ended: set(ended.out.split()) == {"95"},
    ),
    Try(
        "disk under many thousand empty files",
        _WRITE
        + "os.mkdir('d')\n"
        + "made = 0\n"
        + "try:\n"
        + "    for made in range(60000): os.close(os.open(f'd/{made}', os.O_CREAT | os.O_WRONLY))\n"
        + "except OSError: pass\n"
        + "until_refused(lambda: (write(fresh(f'f{written}'), 8), time.sleep(0.1))); time.sleep(3)",
        is_within_its_disk,
    ),
    Try(
        "disk in folders closed to everybody",
        _WRITE
        + "os.makedirs('a/b'); fd = fresh('a/b/f'); os.chmod('a/b', 0); os.chmod('a', 0)\n"
        + "until_refused(lambda: (write(fd, 4), time.sleep(0.1))); time.sleep(2)",
        is_within_its_disk,
    ),
    Try(
        "a file of a size that no disk has",
        "import os\n"
        "fd = os.open('f', os.O_CREAT | os.O_RDWR)\n"
        "try: os.ftruncate(fd, 1 << 50)\n"
        "except OSError as exc: print(exc.errno)",
        lambda ended: ended.out.strip() == "27" or ended.code == 153,
    ),
    Try(
        "connections to its node by the thousand",
        "import os, resource, socket\n"
        "soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))\n"
        "made = []\n"
        "def connect(timeout):\n"
        "    s = socket.socket(socket.AF_UNIX); s.settimeout(timeout)\n"
        "    s.connect(os.environ['SWARM_CTX']); return s\n"
        "try:\n"
        "    while len(made) < 3000: made.append(connect(0))\n"
        "except BlockingIOError: pass\n"
        "print(len(made) < 60)\n"
        "for one in made: one.close()\n"
        "s = connect(None); s.sendall(b'\\0\\0\\0\\2{}'); print(s.recv(4) != b'')",
        lambda ended: ended.says("True", "True"),
    ),
    Try(
        "a log without end",
        "import os\nwhile True: os.write(1, b'x' * 65536)",
        lambda ended: ended.reason == "log" or ended.code == 153,
    ),
    Try(
        "sockets of families that know no network namespace",
        _SOCKETS + "print(*(tried(f, socket.SOCK_STREAM) for f in (40, 38, 31, 17, 5, 30, 44)))",
        lambda ended: set(ended.out.split()) == {"EAFNOSUPPORT"},
    ),
    Try(
        "netlink beyond one's own routes",
        _SOCKETS + "print(*(tried(16, 3, kind) for kind in (0, 2, 4, 9, 12, 15, 16, 21)))",
        lambda ended: ended.says("made", *["EPROTONOSUPPORT"] * 7),
    ),
    Try(
        "a pair of sockets of another family",
        "import socket\n"
        "socket.socketpair()\n"
        "try: socket.socketpair(30, socket.SOCK_STREAM)\n"
        "except OSError as exc: print(exc.errno)",
        lambda ended: ended.says("97"),
    ),
    Try(
        "memory of the sandbox's own processes and of nobody else's",
        _MEMORY
        + "pid = os.fork()\n"
        + "if pid == 0: os.read(os.pipe()[0], 1)\n"
        + "print(read(pid, ctypes.addressof(secret)))\n"
        + "os.kill(pid, 9)\n"
        + "for other in range(1, 70000):\n"
        + "    if other not in (1, 2, os.getpid(), pid) and 'such' not in read(other, 4096):\n"
        + "        print('reached', other)",
        lambda ended: ended.says("shared"),
    ),
]


@pytest.fixture(scope="module", params=["root", "user"])
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Ended]:
    folder: Path = tmp_path_factory.mktemp("hostile")
    return run_tries(folder, TRIES, as_user=request.param == "user")


@pytest.mark.parametrize("one", TRIES, ids=[one.name for one in TRIES])
def test_a_hostile_task_comes_to_nothing(outcomes: dict[str, Ended], one: Try) -> None:
    ended = outcomes[one.name]
    assert one.is_contained(ended), ended
