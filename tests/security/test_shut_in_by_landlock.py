"""In the sandbox `container` Landlock shuts a task off from everything but what is its own."""

import os
import socket
from pathlib import Path

import pytest

from swarmnode.executor.kernel import landlock
from swarmnode.executor.port import Limit
from tests.hostile_words import CALLS
from tests.job_lab import PYTHON, needs_python, needs_root, run_job, running_executor, spec

pytestmark = [
    needs_root,
    needs_python,
    pytest.mark.skipif(bool(landlock.trouble()), reason=f"Landlock: {landlock.trouble()}"),
]


@pytest.fixture
def public(open_path: Path) -> Path:
    """A file of somebody else's in the container, which every user may read and write."""
    place = open_path / "public"
    place.mkdir(mode=0o777)
    place.chmod(0o777)
    (place / "data").write_text("of somebody else")
    (place / "data").chmod(0o666)
    return place


async def test_files_that_everybody_may_read_and_write_are_out_of_reach(
    open_path: Path, public: Path
) -> None:
    script = (
        CALLS + f"place = {str(public)!r}\n"
        "print(tried(lambda: open(place + '/data')), tried(lambda: open(place + '/data', 'w')),\n"
        "      tried(lambda: open(place + '/new', 'w')), tried(lambda: os.listdir(place)),\n"
        "      tried(lambda: os.listdir('/')), tried(lambda: os.listdir('/tmp')),\n"
        "      tried(lambda: os.rename(place + '/data', 'mine')),\n"
        "      tried(lambda: os.link(place + '/data', 'mine')),\n"
        "      tried(lambda: os.truncate(place + '/data', 0)))\n"
    )
    async with running_executor(open_path / "x", sandbox="container") as executor:
        assert executor.enforceable()[Limit.PATHS] == ""
        ended, out, err = await run_job(executor, spec("t.1", PYTHON, "-c", script))
    assert Limit.PATHS in ended.enforced
    assert set(out.split()) == {"EACCES", "EXDEV"}, err
    assert (public / "data").read_text() == "of somebody else"
    assert os.listdir(public) == ["data"]


async def test_what_programs_live_by_still_works(open_path: Path) -> None:
    """Renames from folder to folder (firejail#6696, landrun#48), /dev/null (codex#16451), pipes by
    name, semaphores in /dev/shm, settings, its own /proc, programs that it made itself."""
    script = (
        "import multiprocessing, os, pathlib, shutil, subprocess, sys, tempfile\n"
        "os.makedirs('a/b'); pathlib.Path('a/f').write_text('x'); os.rename('a/f', 'a/b/f')\n"
        "os.link('a/b/f', 'a/g'); os.symlink('g', 'a/h'); os.mkfifo('a/p')\n"
        "open('/dev/null', 'w').write('x'); open('/dev/urandom', 'rb').read(1)\n"
        "print('named', file=open('/dev/stdout', 'w'), flush=True)\n"
        "with tempfile.NamedTemporaryFile() as f: f.write(b'x')\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool: pool.map(abs, [1, -2])\n"
        "shutil.copy('/bin/true', 'own'); subprocess.run(['./own'], check=True)\n"
        "subprocess.run('id -u > out && test -s out', shell=True, check=True)\n"
        "open('/proc/self/status').read(); open('/etc/passwd').read(); os.listdir('/usr/lib')\n"
        "shutil.rmtree('a'); print('all')\n"
    )
    async with running_executor(open_path / "x", sandbox="container") as executor:
        ended, out, err = await run_job(executor, spec("t.1", PYTHON, "-c", script))
    assert (ended.code, out.split()) == (0, ["named", "all"]), err


async def test_a_task_reaches_nobody_by_abstract_socket_signal_or_proc(open_path: Path) -> None:
    """The network namespace is the container's here: by its abstract sockets tasks could talk."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"\0swarm-test-{os.getpid()}")
    listener.listen()
    script = (
        CALLS + "import socket\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        f"print(tried(lambda: s.connect('\\0swarm-test-{os.getpid()}')),\n"
        f"      tried(lambda: os.kill({os.getpid()}, 0)), tried(lambda: os.kill(1, 0)),\n"
        f"      tried(lambda: open('/proc/{os.getpid()}/environ')),\n"
        f"      tried(lambda: os.listdir('/proc/{os.getpid()}/fd')))\n"
    )
    with listener:
        async with running_executor(open_path / "x", sandbox="container") as executor:
            _, out, err = await run_job(executor, spec("t.1", PYTHON, "-c", script))
    assert set(out.split()) <= {"EPERM", "EACCES"}, err
    assert out, err


def test_a_kernel_without_it_is_a_trouble_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    for version, word in ((0, "no Landlock"), (1, "an old Landlock")):
        monkeypatch.setattr(landlock, "abi", lambda version=version: version)
        assert word in landlock.trouble()
        assert "5.19" in landlock.trouble()
        assert landlock.prepare(["use /usr"]) == -1
    landlock.bind(-1)


@pytest.mark.parametrize(("version", "size"), [(2, 8), (3, 8), (4, 16), (5, 16), (6, 24), (9, 24)])
def test_each_version_is_told_what_it_knows(version: int, size: int) -> None:
    told = landlock._attributes(version)
    assert len(told) == size
    assert bool(int.from_bytes(told[:8], "little") >> 15 & 1) == (version >= 5)
