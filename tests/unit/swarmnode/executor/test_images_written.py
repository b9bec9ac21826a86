"""What a task writes to its image: as in docker it may, and nobody else ever sees it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from blake3 import blake3

from swarmnode.executor.port import DataMount, JobSecrets
from swarmnode.executor.process import ProcessExecutor
from swarmnode.executor.sandbox import bubblewrap
from swarmnode.executor.sandbox.image_ways import image_trouble
from swarmnode.tree.pack import packed
from swarmnode.tree.scan import entries_of, scan
from tests.image_lab import Item, layer, programs, saved
from tests.job_lab import needs_bwrap, needs_root, run_job, running_executor, spec
from tests.unit.swarmnode.executor.test_environments_built import once
from tests.unit.swarmnode.executor.test_images_unpacked import unpacked

pytestmark = needs_bwrap
MIB = 1 << 20


def made(folder: Path) -> bytes:
    """The tree of an image with a shell."""
    folder.mkdir()
    tools = ("sh", "cat", "dd", "rm", "mv", "ls", "mkdir", "ln", "chmod", "stat")
    files = [Item("opt/a", b"given\n"), Item("var/lib/x/db", b"old\n"), Item("root/.keep")]
    done = unpacked(folder, saved(folder / ".image", [layer(*programs(*tools), *files)]))
    assert done.returncode == 0, done.stderr
    found = scan(str(folder)).found
    return b"".join(packed(str(folder), found, entries_of(found, ())))


async def bring(executor: ProcessExecutor, folder: Path) -> None:
    """It, as @one."""
    tree = made(folder)
    await executor.bringing.bring("@one", blake3(tree).digest(), once(tree))


async def ran(
    executor: ProcessExecutor, job: str, script: str, *, must_write: bool = True
) -> tuple[int, str, str]:
    ended, out, said = await run_job(executor, spec(job, "sh", "-c", script, environment="@one"))
    if must_write and "images can only be read here" in said:
        pytest.skip(said)
    return ended.code or 0, out, said


WRITES = """
echo new > /opt/new && echo more >> /opt/a && echo own > /root/.own && mkdir -p /var/cache/x/y
mv /var/lib/x/db /var/lib/x/was && rm -r /var/lib/x && ln -s a /opt/l && chmod 600 /opt/a
echo pid > /run/x.pid && mkdir /run/lock && ls /run
cat /opt/new /opt/a /root/.own
(echo no > /etc/passwd) 2>&1; (echo no > /new) 2>&1; (rm /etc/hosts) 2>&1; exit 0
"""


async def test_every_place_of_an_image_may_be_written_to_and_the_next_task_sees_none_of_it(
    tmp_path: Path,
) -> None:
    async with running_executor(tmp_path / "x") as executor:
        await bring(executor, tmp_path / "made")
        for job in ("w.1", "w.2"):
            code, out, said = await ran(executor, job, WRITES)
            assert (code, out.splitlines()[:3]) == (0, ["lock", "swarm", "x.pid"]), (out, said)
            assert "new\ngiven\nmore\nown\n" in out
            assert out.count("Read-only file system") == 2, out
        _, out, _ = await ran(executor, "w.3", "ls /opt; cat /opt/a /var/lib/x/db")
        assert out == "a\ngiven\nold\n"


async def test_what_is_written_to_an_image_is_in_the_tasks_memory_and_ends_there(
    tmp_path: Path,
) -> None:
    async with running_executor(tmp_path / "x") as executor:
        await bring(executor, tmp_path / "made")
        code, _, said = await ran(executor, "f.1", "dd if=/dev/zero of=/opt/big bs=1M count=300")
        assert (code, "No space left on device" in said) == (1, True), said


async def test_nothing_of_an_image_gives_rights_that_a_task_has_not(tmp_path: Path) -> None:
    """Its own system looks like its own, and is no way to that of the machine."""
    async with running_executor(tmp_path / "x") as executor:
        await bring(executor, tmp_path / "made")
        script = "stat -c %u /opt /opt/a; chmod 4755 /usr/bin/cat; ls -a /tmp"
        code, out, said = await ran(executor, "r.1", script)
        assert code == 0, said
        assert out.splitlines()[:4] == ["65534", "65534", ".", ".."], out


ON_OVERLAY = """
import sys
from pathlib import Path
import trio
from tests.job_lab import running_executor
from tests.unit.swarmnode.executor.test_images_written import bring, ran

async def main(folder):
    async with running_executor(folder / "x") as executor:
        await bring(executor, folder / "made")
        print(await ran(executor, "w.1", "cat /opt/a; echo x > /opt/a", must_write=False))

trio.run(main, Path(sys.argv[1]))
"""
"""A file system of which the kernel gives no view with other owners."""


@needs_root
def test_where_a_machine_cannot_do_it_the_image_can_be_read_and_the_log_says_why(
    tmp_path: Path,
) -> None:
    for name in ("lower", "upper", "work", "x"):
        (tmp_path / name).mkdir()
    mount = "mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work none x"
    script = f'cd "$1" && {mount} && cd "$4" && exec "$2" -c "$3" "$1/x"'
    words = ["unshare", "-m", "sh", "-c", script, "sh", str(tmp_path), sys.executable, ON_OVERLAY]
    words.append(bubblewrap.ROOT)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "(2, 'given\\n', 'swarm: images can only be read here (OSError: " in done.stdout
    assert "Read-only file system" in done.stdout


async def test_secrets_datasets_and_a_network_are_there_in_an_image_too(tmp_path: Path) -> None:
    data = tmp_path / "set"
    lines = (
        'cat /run/secrets/hf; echo " $TOKEN"; cat /sets/one/f; ls /run',
        "cat /etc/resolv.conf > /dev/null && echo names; echo x > /opt/y && cat /opt/y",
    )
    async with running_executor(tmp_path / "x") as executor:
        await bring(executor, tmp_path / "made")
        data.mkdir(mode=0o755)
        (data / "f").write_text("data\n")
        shown = (DataMount("/sets/one", "", is_folder=True, source=str(data)),)
        net = ("example.org",) if not executor.net_trouble() else ()
        what = spec("s.1", "sh", "-c", "; ".join(lines), environment="@one", data=shown, net=net)
        await executor.prepare(what.job)
        await executor.start(what, JobSecrets({"TOKEN": b"t0ken"}, {"hf": b"s3cret"}))
        assert (await executor.wait(what.job)).code == 0
        out = await executor.read_log(what.job, "stdout", 0, 9999)
    assert out == b"s3cret t0ken\ndata\nsecrets\nswarm\nnames\nx\n"


@needs_root
def test_a_clone_below_tmp_finds_out_what_one_elsewhere_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(Path(bubblewrap.ROOT) / "swarmnode", tmp_path / "clone/swarmnode")
    monkeypatch.setattr(bubblewrap, "ROOT", str(tmp_path / "clone"))
    assert "import" not in image_trouble(tmp_path, bubblewrap.UID_FIRST)
