"""Ways out that other sandboxes once had, each tried on a node of root and on a plain user's."""

import pytest

from swarmnode.executor.sandbox.capability import BWRAP, CONTAINER
from tests.hostile_lab import Ended, Try, run_tries
from tests.hostile_words import CALLS, is_all
from tests.job_lab import needs_bwrap, needs_python
from tests.open_folder import open_folder

pytestmark = [needs_bwrap, needs_python]

REFUSED = ("EROFS", "EACCES", "EPERM", "ENOENT", "EBUSY", "EXDEV", "EINVAL", "ETXTBSY")
SETTINGS = (
    "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/kernel/msgmax", "/proc/sys/vm/overcommit_memory", "/proc/sys/net/core/somaxconn",
    "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/ping_group_range",
    "/proc/sys/fs/file-max", "/proc/sysrq-trigger", "/proc/self/uid_map", "/proc/self/setgroups",
    "/proc/self/oom_score_adj", "/proc/1/oom_score_adj",
)  # fmt: skip
MASKED = ("kcore", "keys", "kmsg", "sysrq-trigger", "timer_list", "slabinfo", "kpageflags")

TRIES = [
    Try(
        "settings of the kernel through /proc (sysctl, core_pattern, its own network's)",
        CALLS + f"print(*(tried(lambda: os.write(os.open(p, 1), b'1')) for p in {SETTINGS}))",
        is_all(*REFUSED),
    ),
    Try(
        "a masked file once /dev/null is something else (CVE-2025-31133)",
        CALLS
        + "print(tried(lambda: os.unlink('/dev/null')),\n"
        + "      tried(lambda: os.rename('/dev/null', 'n')),\n"
        + "      tried(lambda: os.symlink('/proc/sys/kernel/core_pattern', '/dev/x')),\n"
        + "      tried(lambda: os.rename('/dev/zero', '/dev/null')),\n"
        + "      tried(lambda: os.link('/work', '/dev/null')), call('umount', b'/proc/kcore'),\n"
        + "      call('umount2', b'/proc/keys', 2))\n"
        + f"for name in {MASKED}:\n"
        + "    try: seen = os.stat('/proc/' + name)\n"
        + "    except FileNotFoundError: continue\n"
        + "    ours = os.stat('/dev/null')\n"
        + "    if seen.st_rdev != ours.st_rdev: print('open', name)\n"
        + "    print(tried(lambda: os.write(os.open('/proc/' + name, os.O_WRONLY), b'x')))",
        is_all(*REFUSED, "EEXIST"),
    ),
    Try(
        "the sandbox's own program through /proc/1/exe (CVE-2019-5736)",
        CALLS
        + "def over(path):\n"
        + "    return tried(lambda: os.open(path, os.O_WRONLY)), tried(\n"
        + "        lambda: os.open(f'/proc/self/fd/{os.open(path, os.O_PATH)}', os.O_RDWR))\n"
        + "print(*over('/proc/1/exe'), *over('/proc/self/exe'), *over('/usr/bin/python3'))",
        is_all(*REFUSED),
    ),
    Try(
        "a folder of the machine by a descriptor that was left open (CVE-2024-21626)",
        "import os, stat\n"
        "bad = []\n"
        "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
        "    try: names = os.listdir(f'/proc/{pid}/fd')\n"
        "    except OSError: continue\n"
        "    for name in names:\n"
        "        try: kind = os.stat(f'/proc/{pid}/fd/{name}').st_mode\n"
        "        except OSError: continue\n"
        "        if stat.S_ISDIR(kind) and pid != str(os.getpid()): bad.append((pid, name))\n"
        "        if stat.S_ISREG(kind) and int(name) > 2: bad.append((pid, name))\n"
        "for number in range(3, 5000):\n"
        "    for way in (f'/proc/self/fd/{number}', f'/dev/fd/{number}', f'/proc/1/fd/{number}'):\n"
        "        try: os.chdir(way); bad.append(way)\n"
        "        except OSError: pass\n"
        "for way, ours in (('/proc/1/cwd', '/work'), ('/proc/1/root', '/')):\n"
        "    try: bad += [] if os.path.samefile(way, ours) else [way]\n"
        "    except OSError: pass\n"
        "print(os.getcwd(), bad)",
        lambda ended: ended.says("/work", "[]"),
    ),
    Try(
        "another place where its folders are (CVE-2026-34078)",
        CALLS
        + "os.mkdir('a'); os.symlink('/', 'a/root'); os.symlink('/proc/1/root', 'b')\n"
        + "print(tried(lambda: os.rename('/work', '/work2')), tried(lambda: os.rmdir('/work')),\n"
        + "      tried(lambda: os.rename('/run/swarm', '/run/other')),\n"
        + "      tried(lambda: os.symlink('/', '/run/swarm/x')),\n"
        + "      tried(lambda: os.rename('a', '/tmp/a')), tried(lambda: os.rename('/tmp', '/t')))",
        is_all(*REFUSED),
    ),
    Try(
        "going before its node and its owner at the disk",
        CALLS
        + "number = {'x86_64': 251, 'aarch64': 30}[os.uname().machine]\n"
        + "go = lambda value: call('syscall', number, 1, 0, ctypes.c_long(value))\n"
        + "print(go(1 << 13), go(2 << 13), go(2 << 13 | 6), go(0), go(1 << 32))\n"
        + "print(go(3 << 13), go(2 << 13 | 7))",
        lambda ended: ended.says(*["EPERM"] * 5, "syscall", "syscall"),
    ),
    Try(
        "what it leaves of its memory when it crashes",
        "import os, resource\n"
        "print(*resource.getrlimit(resource.RLIMIT_CORE), flush=True)\n"
        "os.abort()",
        lambda ended: ended.reason == "signal" and ended.out.split() == ["0", "0"],
    ),
    Try(
        "devices that it makes, or finds in what it was given",
        CALLS
        + "print(tried(lambda: os.mknod('d', 0o20666, os.makedev(1, 5))),\n"
        + "      tried(lambda: os.mknod('b', 0o60666, os.makedev(7, 0))),\n"
        + "      tried(lambda: os.mknod('/tmp/d', 0o20666, os.makedev(1, 1))))",
        is_all(*REFUSED),
    ),
    Try(
        "others' files by links of its own",
        CALLS
        + "os.symlink('/usr/bin/python3', 'soft'); os.symlink('/proc/1/environ', 'env')\n"
        + "print(tried(lambda: os.link('/usr/bin/python3', 'hard')),\n"
        + "      tried(lambda: os.link('/etc/passwd', 'hard')),\n"
        + "      tried(lambda: os.chmod('soft', 0o777)), tried(lambda: open('soft', 'a')),\n"
        + "      tried(lambda: open('env', 'w')))",
        is_all(*REFUSED),
    ),
    Try(
        "scratch in memory beyond its size",
        CALLS
        + "import tempfile\n"
        + "def fill():\n"
        + "    f = open(tempfile.gettempdir() + '/f', 'wb', buffering=0)\n"
        + "    for _ in range(300): f.write(bytes(1 << 20))\n"
        + "print(tried(fill))",
        lambda ended: ended.says("ENOSPC") or ended.reason in ("disk", "oom"),
    ),
    Try(
        "another task's memory, files and keys by /proc",
        "import os\n"
        "seen = sorted(int(pid) for pid in os.listdir('/proc') if pid.isdigit())\n"
        "mine = {1, 2, os.getpid(), os.getppid()}\n"
        "print([pid for pid in seen if pid not in mine])",
        lambda ended: ended.says("[]"),
    ),
]


APART = (
    "a masked file once /dev/null is something else (CVE-2025-31133)",
    "a folder of the machine by a descriptor that was left open (CVE-2024-21626)",
    "another task's memory, files and keys by /proc",
)
"""What only namespaces of its own keep from a task; in `container` it has none."""


@pytest.fixture(scope="module", params=["root", "user", "container"])
def outcomes(request: pytest.FixtureRequest) -> dict[str, Ended]:
    is_container = request.param == "container"
    tries = [one for one in TRIES if not (is_container and one.name in APART)]
    with open_folder() as folder:
        sandbox = CONTAINER if is_container else BWRAP
        return run_tries(folder, tries, as_user=request.param == "user", sandbox=sandbox)


@pytest.mark.parametrize("one", TRIES, ids=[one.name for one in TRIES])
def test_a_way_out_of_other_sandboxes_is_shut(outcomes: dict[str, Ended], one: Try) -> None:
    if one.name not in outcomes:
        pytest.skip("needs namespaces: the sandbox `container` has none")
    assert one.is_contained(outcomes[one.name]), outcomes[one.name]
