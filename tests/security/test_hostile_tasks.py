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

TRIES = [
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
