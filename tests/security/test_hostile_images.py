"""Tasks that make a trap of the system of an image that they may write to: it ends with them."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
import trio

from swarmnode.executor.job_folder import JobFolder
from tests.hostile_lab import ROOT as CHECKOUT
from tests.hostile_lab import Ended, Try, command_of, environment, run_tries, words_of
from tests.hostile_words import CALLS, is_all
from tests.job_lab import needs_bwrap, needs_python, running_executor
from tests.open_folder import open_folder

pytestmark = [needs_bwrap, needs_python]
MARKS = "opaque", "redirect", "metacopy", "whiteout", "origin", "upper", "impure", "uuid"

TRIES = [
    Try(
        "marks by which overlayfs would hide or show something else",
        CALLS
        + "def marked(space, name):\n"
        + "    return tried(lambda: os.setxattr('/opt', f'{space}.overlay.{name}', b'y'))\n"
        + "spaces = 'trusted', 'security'\n"
        + f"print(*(marked(space, name) for space in spaces for name in {MARKS}),\n"
        + "      tried(lambda: os.mknod('/opt/w', 0o20600, 0)),\n"
        + "      tried(lambda: os.mknod('/opt/w', 0o60600, os.makedev(7, 0))),\n"
        + "      call('renameat2', -100, b'/opt/a', -100, b'/opt/z', 4))",
        is_all("EPERM", "EINVAL"),
    ),
    Try(
        "marks of its own, which mean nothing",
        CALLS
        + f"for name in {MARKS}:\n"
        + "    tried(lambda: os.setxattr('/opt', f'user.overlay.{name}', b'y'))\n"
        + "    tried(lambda: os.setxattr('/opt/a', f'user.overlay.{name}', b'/../etc/passwd'))\n"
        + "os.rename('/opt/a', '/opt/b')\n"
        + "print(*os.listdir('/opt'), open('/opt/b').read().strip())",
        lambda ended: ended.says("b", "given"),
    ),
    Try(
        "a program that is root, or may more than others, when it runs",
        CALLS
        + "import shutil, subprocess\n"
        + "shutil.copy('/host/bin/id', '/opt/id'); os.chmod('/opt/id', 0o6755)\n"
        + "rights = bytes.fromhex('0100000200ffffff00000000ffffffff00000000')\n"
        + "print(subprocess.getoutput('/opt/id -u'),\n"
        + "      tried(lambda: os.setxattr('/opt/id', 'security.capability', rights)))",
        lambda ended: ended.says("65534", "EPERM"),
    ),
    Try(
        "names without end, which take no room of their files",
        CALLS
        + "def many():\n"
        + "    for number in range(80000): os.close(os.open(f'/opt/{number}', os.O_CREAT))\n"
        + "print(tried(many))",
        lambda ended: ended.says("ENOSPC") or ended.reason == "oom",
        {"memory_bytes": 128 << 20},
    ),
    Try(
        "more room than it has, by holes and by room that is only kept",
        CALLS
        + "file = os.open('/opt/h', os.O_CREAT | os.O_RDWR)\n"
        + "print(tried(lambda: os.ftruncate(file, 1 << 40)),\n"
        + "      tried(lambda: os.posix_fallocate(file, 0, 1 << 30)))",
        is_all("EFBIG", "ENOSPC"),
    ),
    Try(
        "folders that nobody can remove",
        "import os, socket\n"
        "os.chdir('/opt'); os.mkfifo('p'); socket.socket(socket.AF_UNIX).bind('s')\n"
        "os.mkdir(b'\\xff\\n'); os.mkdir('locked'); os.chmod('locked', 0)\n"
        "for _ in range(2000): os.mkdir('d' * 200); os.chdir('d' * 200)\n"
        "print('made')",
        lambda ended: ended.says("made"),
    ),
    Try(
        "the files above and below by another way",
        "import os\n"
        "ways = [f'/proc/{who}/{way}' for who in ('1', '2', 'self') for way in ('root', 'cwd')]\n"
        "places = ('tmp/above', 'tmp/below', 'above', 'below', 'tmp/above/upper')\n"
        "all = [f'{way}/{one}' for way in ways for one in places]\n"
        "print([one for one in all if os.path.exists(one)],\n"
        "      sorted(map(int, os.listdir('/proc/self/fd')))[3:])",
        lambda ended: ended.says("[]", "[3]"),  # the folder that is being listed
    ),
    Try(
        "another task's, which would see what was written",
        "import os\nprint(sorted(os.listdir('/opt')), open('/opt/a').read().strip())",
        lambda ended: ended.says("['a']", "given"),
    ),
]


@pytest.fixture(scope="module", params=["root", "user"])
def outcomes(request: pytest.FixtureRequest) -> dict[str, Ended]:
    with open_folder() as folder:
        odd = folder / "a:b,c=d\\ e"  # to overlayfs some of these mean something
        odd.mkdir(mode=0o711)
        ended = run_tries(odd, TRIES, as_user=request.param == "user", in_image=True)
        if any("images can only be read here" in one.err for one in ended.values()):
            pytest.skip(next(iter(ended.values())).err)
        assert os.listdir(odd / "x" / "jobs") == []
        return ended


@pytest.mark.parametrize("one", TRIES, ids=[one.name for one in TRIES])
def test_what_a_task_makes_of_its_image_comes_to_nothing(
    outcomes: dict[str, Ended], one: Try
) -> None:
    assert one.is_contained(outcomes[one.name]), outcomes[one.name]


STAYS = Try(
    "stays",
    "import os, time\n"
    "open('/opt/big', 'wb').write(os.urandom(30 << 20)); os.chmod('/opt', 0)\n"
    "print('written', flush=True); time.sleep(60)",
    lambda _: True,
)


@pytest.mark.parametrize("who", ["root", "user"])
async def test_nothing_of_an_image_that_was_written_to_is_left_by_a_node_that_is_killed(
    who: str,
) -> None:
    with open_folder() as folder:
        command = command_of(folder, as_user=who == "user", in_image=True)
        job = folder / "x/jobs/try0.1"
        with subprocess.Popen(  # noqa: ASYNC220
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=CHECKOUT,
            env=environment(),
        ) as node:  # fmt: skip
            assert node.stdin is not None
            node.stdin.write(words_of([STAYS]).encode())
            node.stdin.close()
            try:
                with trio.fail_after(60):
                    while not _wrote(job):
                        assert node.poll() is None
                        await trio.sleep(0.05)
                state = JobFolder(job).read_state()
                assert state is not None
                assert _seen_by(state.pid, " /opt ")
            finally:
                node.send_signal(signal.SIGKILL)
        os.kill(state.shim, signal.SIGKILL)
        with trio.fail_after(20):
            while _mounted(str(folder)):  # noqa: ASYNC110
                await trio.sleep(0.05)
        async with running_executor(folder / "x") as again:
            assert (await again.wait(next(iter(again.jobs())).job)).reason == "lost"
        assert os.listdir(folder / "x" / "jobs") == []


def _wrote(job: Path) -> bool:
    return (job / "stdout").exists() and b"written" in (job / "stdout").read_bytes()


def _seen_by(pid: int, words: str) -> bool:
    return words in Path(f"/proc/{pid}/mountinfo").read_text()


def _mounted(words: str) -> bool:
    """By whom ever: of each process what it sees."""
    for process in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            if words in process.read_text():
                return True
        except OSError:
            continue
    return False
