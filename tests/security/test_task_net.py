"""Hostile tasks with a network, tried on a node of root and on one of a plain user.

Each may reach `internet`, or one host; a service of the machine counts who gets to it: nobody.
"""

from collections.abc import Callable

import pytest

from tests.hostile_lab import Ended, Try, run_tries
from tests.hostile_words import SOCKETS
from tests.job_lab import needs_bwrap, needs_python
from tests.open_folder import open_folder

pytestmark = [needs_bwrap, needs_python]

NET = """
import errno, os, socket, struct, sys, threading, time
VICTIM, FRIEND = int(os.environ["VICTIM"]), int(os.environ["FRIEND"])
def talk(host, port, family=socket.AF_INET):
    s = socket.socket(family, socket.SOCK_STREAM); s.settimeout(10)
    try:
        s.connect((host, port)); s.sendall(b"hello"); said = s.recv(5)
    except OSError as exc: return errno.errorcode.get(exc.errno, type(exc).__name__)
    finally: s.close()
    return said.decode() or "END"
def listener():
    for line in open("/proc/net/tcp").read().splitlines()[1:]:
        words = line.split()
        if words[3] == "0A" and words[1].startswith("00000000:"): return int(words[1][9:], 16)
"""
INTERNET = ("internet",)


def only(*words: str) -> Callable[[Ended], bool]:
    def is_contained(ended: Ended) -> bool:
        said = set(ended.out.split())
        return ended.reason == "exit" and bool(said) and said <= set(words) and not ended.touched

    return is_contained


def says(*words: str) -> Callable[[Ended], bool]:
    return lambda ended: ended.says(*words) and not ended.touched


def _is_held_to(connections: int, ended: Ended) -> bool:
    """No more than that work, and why is said; a plain user's node may have fewer files."""
    ok, reset = map(int, ended.out.split())
    told = f"more than {connections} connections", "too many files open"
    return 0 < ok <= connections and reset > 0 and any(words in ended.err for words in told)


def _has_no_more_names(ended: Ended) -> bool:
    """It was quick enough to use them up; or another took the files that a plain user may open,
    which is said, and spares the node itself (docs/limits.md)."""
    told = "no more names are looked up", "too many files open"
    return not ended.touched and any(words in ended.err for words in told)


TRIES = [
    Try(
        "what it may reach",
        NET + "print(talk('friend.example', FRIEND))",
        says("hello"),
        net=INTERNET,
    ),
    Try(
        "services of the machine by its addresses",
        NET
        + "names = ('127.0.0.1', '127.1', '0x7f000001', '017700000001', '2130706433', '0',\n"
        + "         '0.0.0.0', '10.77.0.1')\n"
        + "print(*(talk(name, VICTIM) for name in names))",
        only("ECONNREFUSED"),
        net=INTERNET,
    ),
    Try(
        "addresses of the inside by literal",
        NET
        + "names = ('10.0.0.1', '172.17.0.1', '192.168.0.1', '169.254.169.254',\n"
        + "         '100.100.100.200', '192.0.0.192', '168.63.129.16', '198.18.200.1',\n"
        + "         '224.0.0.1', '240.0.0.1')\n"
        + "print(*(talk(name, port) for name in names for port in (80, VICTIM)))",
        only("ECONNRESET", "ENETUNREACH", "EINVAL", "EACCES"),
        net=INTERNET,
    ),
    Try(
        "addresses of the inside by name",
        NET
        + "names = ('inside', 'metadata', 'both', 'mapped', 'ula', 'own6')\n"
        + "print(*(talk(f'{name}.example', VICTIM) for name in names))",
        only("ECONNRESET"),
        net=INTERNET,
    ),
    Try(
        "another port of a host that it may reach",
        NET + "print(talk('friend.example', VICTIM))",
        only("ECONNRESET"),
        net=INTERNET,
    ),
    Try(
        "a host that it did not ask for",
        NET + "print(talk('friend.example', FRIEND), talk('8.8.8.8', 443))",
        lambda ended: (
            ended.says("ECONNRESET", "ECONNRESET")
            and "--net pypi,friend.example:" in ended.err
            and "--net pypi,8.8.8.8)" in ended.err
        ),
        net=("pypi",),
    ),
    Try(
        "names that a question of DNS may hold",
        NET
        + "def ask(labels):\n"
        + "    text = b''.join(bytes([len(l)]) + l for l in labels) + b'\\0'\n"
        + "    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)\n"
        + "    s.connect(('10.77.0.1', 53))\n"
        + "    s.send(struct.pack('>6H', 1, 256, 1, 0, 0, 0) + text + struct.pack('>2H', 1, 1))\n"
        + "    reply = s.recv(512); return socket.inet_ntoa(reply[-4:]) if reply[7] else ''\n"
        + "names = ([b'2130706433'], [b'0x7f', b'1'], [b'127', b'0', b'0', b'1'], [b'a\\0b'],\n"
        + "         [b'localhost'], [b'..'], [b'127.0.0.1'], [b'inside.example'], [b'\\xff'])\n"
        + "for name in names:\n"
        + "    if found := ask(name): print(talk(found, VICTIM))",
        only("ECONNRESET"),
        net=INTERNET,
    ),
    Try(
        "the listener itself, until nothing is left",
        NET
        + "port = listener()\n"
        + "print(*(talk(host, port) for host in ('127.0.0.1', '10.77.0.1', '127.9.9.9') * 50))\n"
        + "print(talk('10.9.9.9', port))",
        only("ECONNRESET"),
        net=INTERNET,
    ),
    Try(
        "UDP, to anybody",
        NET
        + "def send(host, port):\n"
        + "    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1)\n"
        + "    try: s.connect((host, port)); s.send(b'x'); s.recv(9)\n"
        + "    except OSError as exc: return errno.errorcode.get(exc.errno, 'silence')\n"
        + "    return 'answered'\n"
        + "print(send('8.8.8.8', 53), send('169.254.169.254', 80), send('friend.example', FRIEND))",
        only("ECONNREFUSED"),
        net=INTERNET,
    ),
    Try(
        "IPv6",
        NET
        + "print(*(talk(host, VICTIM, socket.AF_INET6) for host in ('2606:4700::1111', 'fd00::1',\n"
        + "        'fe80::1', '::1', '::ffff:127.0.0.1', '::ffff:10.0.0.1')))",
        only("ENETUNREACH", "ECONNREFUSED", "EINVAL", "ECONNRESET", "EADDRNOTAVAIL"),
        net=INTERNET,
    ),
    Try(
        "raw sockets, vsock and other families",
        SOCKETS
        + "print(tried(2, socket.SOCK_RAW, 1), tried(2, socket.SOCK_RAW, 255),\n"
        + "      tried(10, socket.SOCK_RAW, 58), tried(2, socket.SOCK_DGRAM, 1))\n"
        + "print(*(tried(f, socket.SOCK_STREAM) for f in (40, 38, 31, 17, 5, 30, 44)))",
        only("EPERM", "EACCES", "EAFNOSUPPORT"),
        net=INTERNET,
    ),
    Try(
        "rules, routes and devices of its network",
        "import errno, socket, struct\n"
        "def ask(kind, body):\n"
        "    s = socket.socket(16, 3, 0); s.settimeout(5)\n"
        "    s.send(struct.pack('=IHHII', 16 + len(body), kind, 5, 1, 0) + body)\n"
        "    return errno.errorcode.get(-struct.unpack_from('=i', s.recv(4096), 16)[0], 'done')\n"
        "print(ask(16, struct.pack('=BxHiII', 0, 0, 1, 0, 1)),\n"
        "      ask(20, struct.pack('=BBBBIHH4s', 2, 32, 0, 254, 1, 8, 2, b'abcd')),\n"
        "      ask(25, struct.pack('=BBBBBBBBI', 2, 0, 0, 0, 255, 4, 254, 2, 0)))\n"
        "try: socket.socket(16, 3, 12)\n"
        "except OSError as exc: print(errno.errorcode[exc.errno])",
        only("EPERM", "EPROTONOSUPPORT"),
        net=INTERNET,
    ),
    Try(
        "settings of its network, and of the machine's",
        "import errno, glob, os\n"
        "tried = 0\n"
        "for path in glob.glob('/proc/sys/net/**', recursive=True):\n"
        "    if os.path.isfile(path):\n"
        "        tried += 1\n"
        "        try: os.close(os.open(path, os.O_WRONLY)); print('opened', path)\n"
        "        except OSError as exc: pass\n"
        "print('tried' if tried > 20 else tried)",
        says("tried"),
        net=INTERNET,
    ),
    Try(
        "namespaces of others",
        "import ctypes, errno, os\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def code(result): return errno.errorcode[ctypes.get_errno()] if result < 0 else 'done'\n"
        "fd = os.open('/proc/self/ns/net', 0)\n"
        "print(code(libc.setns(fd, 0)), code(libc.unshare(0x40000000)),\n"
        "      code(libc.unshare(0x10000000)))",
        only("EPERM"),
        net=INTERNET,
    ),
    Try(
        "a port of the machine's, or one below 1024",
        NET
        + "def bind(port):\n"
        + "    try: socket.socket().bind(('10.77.0.1', port))\n"
        + "    except OSError as exc: return errno.errorcode[exc.errno]\n"
        + "    return 'bound'\n"
        + "print(bind(53), bind(80), bind(listener()), bind(VICTIM))",
        lambda ended: ended.says("EACCES", "EACCES", "EADDRINUSE", "bound") and not ended.touched,
        net=INTERNET,
    ),
    Try(
        "what the shim keeps of its network",
        "import os\n"
        "print(*sorted(os.listdir('/run/swarm')))\n"
        "print(*(name for name in os.listdir('/proc/self/fd') if int(name) > 2))",
        lambda ended: "net.sock" not in ended.out and len(ended.out.splitlines()[1].split()) == 1,
        net=INTERNET,
    ),
    Try(
        "more connections than a task may have",
        NET
        + "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (4000, 4000))\n"
        + "address, held, ok, reset = socket.gethostbyname('friend.example'), [], 0, 0\n"
        + "for _ in range(1100):\n"
        + "    s = socket.create_connection((address, FRIEND), 20); held.append(s)\n"
        + "for s in held:\n"
        + "    try: s.sendall(b'hello'); ok += s.recv(5) == b'hello'\n"
        + "    except OSError: reset += 1\n"
        + "print(ok, reset)",
        lambda ended: _is_held_to(1024, ended),
        {"memory_bytes": 512 * 1024 * 1024, "wall_s": 60.0},
        net=INTERNET,
    ),
    Try(
        "memory of the kernel's, by packets and connections that are forgotten at once",
        "import socket, time\n"
        "u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "number, end = 0, time.monotonic() + 2\n"
        "while time.monotonic() < end:\n"
        "    number += 1; place = ('8.%d.%d.9' % (number >> 8 & 255, number & 255), 9)\n"
        "    t = socket.socket(); t.setblocking(False)\n"
        "    try: u.sendto(b'x', place)\n"
        "    except OSError: pass\n"
        "    try: t.connect(place)\n"
        "    except OSError: pass\n"
        "    t.close()\n"
        "print(open('/proc/sys/net/netfilter/nf_conntrack_count').read())",
        lambda ended: 0 < int(ended.out) < 8_000,
        net=INTERNET,
    ),
    Try(
        "questions without end",
        NET
        + "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('10.77.0.1', 53))\n"
        + "end = time.monotonic() + 1\n"
        + "number = 0\n"
        + "while time.monotonic() < end:\n"
        + "    number += 1; name = b'n%d' % number\n"
        + "    try: s.send(struct.pack('>6H', 1, 256, 1, 0, 0, 0) + bytes([len(name)]) + name\n"
        + "                + b'\\0' + struct.pack('>2H', 1, 1))\n"
        + "    except OSError: pass\n"
        + "print(talk('friend.example', FRIEND))",
        lambda ended: ended.says("hello") or _has_no_more_names(ended),
        net=INTERNET,
    ),
]


@pytest.fixture(scope="module", params=["root", "user"])
def outcomes(request: pytest.FixtureRequest) -> dict[str, Ended]:
    with open_folder() as folder:
        return run_tries(folder, TRIES, as_user=request.param == "user")


@pytest.mark.parametrize("one", TRIES, ids=[one.name for one in TRIES])
def test_a_hostile_task_with_a_network_comes_to_nothing(
    outcomes: dict[str, Ended], one: Try
) -> None:
    assert one.is_contained(outcomes[one.name]), outcomes[one.name]
