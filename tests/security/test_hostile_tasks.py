"""Hostile tasks, each tried on a node of root and on one of a plain user: all come to nothing."""

import pytest

from swarmnode.executor.port import Limit
from tests.hostile_lab import Ended, Try, run_tries
from tests.hostile_words import (
    CALLS,
    DEVICES,
    MEMORY,
    OUTSIDE,
    PRIVATE,
    SOCKETS,
    WRITE,
    is_all,
    is_within_its_disk,
)
from tests.job_lab import needs_bwrap, needs_python
from tests.open_folder import open_folder

pytestmark = [needs_bwrap, needs_python]

TRIES = [
    Try(
        "files of the machine and of its people",
        CALLS + f"print(*(tried(lambda: os.open(p, 0)) for p in {PRIVATE}))",
        is_all("ENOENT", "EACCES", "EPERM"),
    ),
    Try(
        "devices of the machine",
        CALLS
        + f"print(*(tried(lambda: os.open(p, 0)) for p in {DEVICES}),\n"
        + "      tried(lambda: os.mknod('d', 0o20600, os.makedev(1, 1))))",
        is_all("ENOENT", "EACCES", "EPERM"),
    ),
    Try(
        "writing anywhere but in its own folders",
        CALLS + f"print(*(tried(lambda: os.open(p, 0o101)) for p in {OUTSIDE}))",
        is_all("EROFS", "EACCES", "ENOENT", "EPERM"),
    ),
    Try(
        "the node's variables, files and processes",
        "import os, glob\n"
        "seen = repr(dict(os.environ))\n"
        "for path in glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/[0-9]*/cmdline'):\n"
        "    try: seen += open(path).read()\n"
        "    except OSError: pass\n"
        "fds = [name for name in os.listdir('/proc/self/fd') if int(name) > 2]\n"
        "words = ('_'.join(('SWARM', 'TEST', 'SECRET')), '_'.join(('hostile', 'lab')))\n"
        "print(*(word in seen for word in words), len(fds))",
        lambda ended: ended.says("False", "False", "1"),  # the folder that is being listed
    ),
    Try(
        "namespaces, mounts and other roots",
        CALLS
        + "print(call('unshare', 0x10000000), call('unshare', 0x20000), call('setns', 0, 0),\n"
        + "      call('mount', b'none', b'/tmp', b'tmpfs', 0, None), call('umount', b'/work'),\n"
        + "      call('chroot', b'/tmp'), call('pivot_root', b'/tmp', b'/tmp'))",
        is_all("EPERM"),
    ),
    Try(
        "the kernel's rarer doors",
        CALLS
        + "numbers = {'x86_64': (101, 250, 321, 298, 323, 425, 304, 246, 175, 438, 312),\n"
        + "           'aarch64': (117, 219, 280, 241, 282, 425, 265, 104, 105, 438, 272)}\n"
        + "print(*(call('syscall', n, 0, 0, 0, 0, 0, 0) for n in numbers[os.uname().machine]))",
        is_all("EPERM"),
    ),
    Try(
        "the machine's name, clock and power",
        CALLS
        + "import time\n"
        + "print(call('sethostname', b'mine', 4), call('reboot', 0x1234567),\n"
        + "      tried(lambda: time.clock_settime(0, 1.0)), call('swapoff', b'/x'))",
        is_all("EPERM"),
    ),
    Try(
        "being another user, or stronger",
        CALLS
        + "print(tried(lambda: os.setuid(0)), tried(lambda: os.setgid(0)),\n"
        + "      tried(lambda: os.setgroups([0])), tried(lambda: os.chown('/work', 0, 0)),\n"
        + "      tried(lambda: os.setpriority(0, 0, -20)),\n"
        + "      tried(lambda: os.sched_setscheduler(0, 1, os.sched_param(50))))",
        is_all("EPERM", "EINVAL", "EACCES"),
    ),
    Try(
        "a program that is root when it runs",
        "import os, shutil, subprocess\n"
        "shutil.copy('/usr/bin/id', 'id'); os.chmod('id', 0o6755)\n"
        "print(subprocess.getoutput('./id -u'), subprocess.getoutput('su -c id')[:2] == 'ui')",
        lambda ended: ended.says("65534", "False"),
    ),
    Try(
        "higher limits than it was given",
        "import resource as r\n"
        "for what in (r.RLIMIT_NOFILE, r.RLIMIT_FSIZE, r.RLIMIT_CORE):\n"
        "    try: r.setrlimit(what, (r.RLIM_INFINITY, r.RLIM_INFINITY)); print('raised')\n"
        "    except (ValueError, PermissionError): print('kept')",
        is_all("kept"),
    ),
    Try(
        "ending everybody it may signal",
        "import os, time\n"
        "try: os.kill(-1, 9)\n"
        "except ProcessLookupError: pass\n"
        "time.sleep(0.1); print('alone')",
        lambda ended: ended.says("alone"),
    ),
    Try(
        "processes without end",
        "import os, time\n"
        "made = 0\n"
        "try:\n"
        "    while made < 500 and os.fork(): made += 1\n"
        "except BlockingIOError: print(made, flush=True)\n"
        "time.sleep(1)",
        lambda ended: ended.out != "" and int(ended.out.split()[0]) < 32,
        {"wall_s": 4.0},
        needs=Limit.PIDS,
    ),
    Try(
        "threads without end",
        "import threading, time\n"
        "made = 0\n"
        "try:\n"
        "    while made < 500:\n"
        "        threading.Thread(target=time.sleep, args=(9,), daemon=True).start(); made += 1\n"
        "except RuntimeError: print(made, flush=True)\n"
        "import os; os._exit(0)",
        lambda ended: int(ended.out) < 32,
        needs=Limit.PIDS,
    ),
    Try(
        "outliving its end in sessions of its own",
        "import os, signal, sys, time\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid(); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "        if os.fork(): os._exit(0)\n"
        "        os.execlp('python3', 'python3', '-c', 'import time; time.sleep(60)',\n"
        "                  os.environ['JOB'])\n"
        "time.sleep(0.5)",
        lambda ended: ended.left == 0,
    ),
    Try(
        "memory beyond its limit",
        "x = bytearray(600 << 20)\nprint('had')",
        lambda ended: ended.reason == "oom",
        needs=Limit.MEMORY,
    ),
    Try(
        "memory in files of memory",
        "import os\n"
        "fds = [os.memfd_create('m') for _ in range(8)]\n"
        "for fd in fds:\n"
        "    for _ in range(64): os.write(fd, bytes(1 << 20))\n"
        "print('had')",
        lambda ended: ended.reason == "oom",
        needs=Limit.MEMORY,
    ),
    Try(
        "memory in shared segments and scratch together",
        "import mmap\n"
        "a = mmap.mmap(-1, 200 << 20); a[:] = bytes(200 << 20)\n"
        "with open('/dev/shm/f', 'wb') as f: f.write(bytes(200 << 20))\n"
        "print('had')",
        lambda ended: ended.reason == "oom",
        needs=Limit.MEMORY,
    ),
    Try(
        "other machines, and this one by its network",
        "import socket\n"
        "def reach(family, where):\n"
        "    s = socket.socket(family, socket.SOCK_STREAM); s.settimeout(2)\n"
        "    try: s.connect(where); return 'reached'\n"
        "    except OSError: return 'no'\n"
        "print(reach(2, ('127.0.0.1', 22)), reach(2, ('192.0.2.1', 80)), reach(10, ('::1', 22)),\n"
        "      reach(1, '\\0/tmp/.X11-unix/X0'), reach(1, '/run/dbus/system_bus_socket'))",
        is_all("no"),
    ),
    Try(
        "its node's end of the door to it",
        CALLS
        + "print(tried(lambda: os.unlink('/run/swarm/ctx.sock')),\n"
        + "      tried(lambda: os.rename('/run/swarm/ctx.sock', '/work/c')),\n"
        + "      tried(lambda: open('/run/swarm/swarm_ctx.py', 'w')))",
        is_all("EROFS", "EACCES", "EPERM", "EXDEV"),
    ),
    Try(
        "words to its node that are no words",
        "import os, socket\n"
        "def talk(data):\n"
        "    s = socket.socket(socket.AF_UNIX); s.connect(os.environ['SWARM_CTX'])\n"
        "    try: s.sendall(data); s.shutdown(1); return len(s.recv(9))\n"
        "    except OSError: return 0\n"
        "print(*map(talk, (b'\\xff' * 8, b'\\xff' * 100, b'\\0\\0', b'GET / HTTP/1.1\\r\\n')))",
        lambda ended: ended.says("0", "0", "0", "0"),
    ),
    Try(
        "a folder that nobody can remove",
        "import os\n"
        "for n in range(400): os.mkdir('d'); os.chdir('d')\n"
        "os.mkdir(b'\\xff\\n'); os.chmod('.', 0)\n"
        "print('deep')",
        lambda ended: ended.says("deep") or ended.reason == "files",
    ),
    Try(
        "disk in files that are under way between sockets",
        WRITE
        + "a, b = socket.socketpair()\n"
        + "def step():\n"
        + "    fd = fresh(); os.unlink('f'); write(fd, 16)\n"
        + "    send(a, fd); os.close(fd); time.sleep(0.2)\n"
        + "until_refused(step); time.sleep(4)",
        is_within_its_disk,
    ),
    Try(
        "disk in sockets that are themselves under way",
        WRITE
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
        WRITE
        + "def step(): fd = fresh(); os.unlink('f'); write(fd, 8); time.sleep(0.1)\n"
        + "until_refused(step); time.sleep(2)",
        is_within_its_disk,
    ),
    Try(
        "disk in deleted files that are mapped and closed",
        WRITE
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
        "the machine's disk at one stroke, through its log",
        "import ctypes, os\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def take(fd, at, size):\n"
        "    done = libc.fallocate(fd, 0, ctypes.c_long(at), ctypes.c_long(size))\n"
        "    return 'took' if done == 0 else ctypes.get_errno()\n"
        "f = os.open('f', os.O_CREAT | os.O_RDWR)\n"
        "print(*(take(fd, *what) for fd in (1, f) for what in\n"
        "        ((0, 1 << 30), (1 << 30, 1), (0, 1 << 40), (1 << 40, 1))))\n",
        is_all("27"),
    ),
    Try(
        "disk under many thousand empty files",
        WRITE
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
        WRITE
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
        "cpu in children that nobody waits for",
        "import os, signal, time\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "if os.fork() == 0:\n"
        "    end = time.monotonic() + 6\n"
        "    while time.process_time() < 1.2 and time.monotonic() < end: pass\n"
        "    print(time.process_time(), flush=True); os._exit(0)\n"
        "time.sleep(6.5)",
        lambda ended: ended.cpu_s > 0.3 * float(ended.out),
    ),
    Try(
        "cpu until the wall clock ends it",
        "import time\nwhile True: print(time.process_time(), flush=True); time.sleep(0); x = 0\n",
        lambda ended: ended.reason == "wall" and ended.cpu_s > 0.7 * float(ended.out.split()[-2]),
        {"wall_s": 2.0},
    ),
    Try(
        "a log without end",
        "import os\nwhile True: os.write(1, b'x' * 65536)",
        lambda ended: ended.reason == "log" or ended.code == 153,
    ),
    Try(
        "sockets of families that know no network namespace",
        SOCKETS + "print(*(tried(f, socket.SOCK_STREAM) for f in (40, 38, 31, 17, 5, 30, 44)))",
        lambda ended: set(ended.out.split()) == {"EAFNOSUPPORT"},
    ),
    Try(
        "netlink beyond one's own routes",
        SOCKETS + "print(*(tried(16, 3, kind) for kind in (0, 2, 4, 9, 12, 15, 16, 21)))",
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
        MEMORY
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
def outcomes(request: pytest.FixtureRequest) -> dict[str, Ended]:
    with open_folder() as folder:
        return run_tries(folder, TRIES, as_user=request.param == "user")


@pytest.mark.parametrize("one", TRIES, ids=[one.name for one in TRIES])
def test_a_hostile_task_comes_to_nothing(outcomes: dict[str, Ended], one: Try) -> None:
    ended = outcomes[one.name]
    if one.needs is not None and one.needs not in ended.enforced:
        pytest.skip(f"{one.needs} is not enforced here")
    assert one.is_contained(ended), ended
