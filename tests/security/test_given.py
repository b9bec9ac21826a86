"""What a task was given: its own to change, never written to, outside its disk, and bounded."""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from p2p.wire.codec import encode
from swarmnode.errors import ExecutorUnavailableError, OutputUnsafeError
from swarmnode.executor.disk.work_use import IMAGE
from swarmnode.executor.port import JobId, Limit
from swarmnode.executor.process import ProcessExecutor
from swarmnode.tree.format import MAGIC, EntryKind, TreeEntry, TreeHead, TreePage, write_index
from tests.job_lab import MIB, PYTHON, SH, needs_bwrap, needs_python, running_executor, spec
from tests.small_disk import small_disk

pytestmark = needs_bwrap
JOB = JobId("t.1")
ROOT = TreeEntry(b"", EntryKind.FOLDER, 0o755)


async def some(*pieces: bytes) -> AsyncGenerator[bytes, None]:
    for piece in pieces:
        yield piece


async def put_large(executor: ProcessExecutor, job: JobId, mib: int) -> None:
    async def pieces() -> AsyncGenerator[bytes, None]:
        for _ in range(mib):
            yield os.urandom(MIB)

    async with aclosing(pieces()) as chunks:
        await executor.put_file(job, "data", chunks)


def tree(entries: Sequence[TreeEntry], contents: bytes) -> AsyncIterator[bytes]:
    return some(write_index([ROOT, *entries]), contents)


def skip_without_disks(executor: ProcessExecutor) -> None:
    if why := executor.enforceable()[Limit.DISK_FS]:
        pytest.skip(why)


async def ran(executor: ProcessExecutor, *argv: str, **changes: object) -> tuple[int, str, str]:
    await executor.start(spec(JOB, *argv, **changes))
    ended = await executor.wait(JOB)
    out, err = [await executor.read_log(JOB, name, 0, MIB) for name in ("stdout", "stderr")]
    return ended.code, out.decode(), err.decode()


async def names(executor: ProcessExecutor) -> list[str]:
    return [file.name for file in await executor.list_files(JOB, "**")]


async def test_a_large_input_needs_no_disk_of_the_task(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        await executor.prepare(JOB)
        await put_large(executor, JOB, 48)
        script = "stat -c %s data; cksum < data > sum; head -c 3000000 /dev/zero > own"
        code, out, err = await ran(executor, SH, "-c", script, disk_bytes=4 * MIB)
        assert (code, int(out)) == (0, 48 * MIB), err
        assert await names(executor) == ["data", "own", "sum"]


async def test_an_input_is_never_copied_into_the_disk_of_a_task(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        skip_without_disks(executor)
        await executor.prepare(JOB)
        await put_large(executor, JOB, 32)
        script = "cat data > /dev/null; chmod 640 data; mv data moved; ln moved two"
        code, out, err = await ran(executor, SH, "-c", f"{script}; cmp moved two && stat -c %a two")
        image = os.stat(tmp_path / "x" / "jobs" / JOB / IMAGE)
    assert (code, out) == (0, "640\n"), err
    assert image.st_blocks * 512 < 8 * MIB


async def test_a_task_may_change_rename_and_remove_what_it_was_given(tmp_path: Path) -> None:
    entries = [
        TreeEntry(b"a", EntryKind.FILE, 0o644, 3),
        TreeEntry(b"deep", EntryKind.FOLDER, 0o755),
        TreeEntry(b"deep/b", EntryKind.FILE, 0o644, 3),
        TreeEntry(b"link", EntryKind.LINK, target=b"deep/b"),
        TreeEntry(b"run", EntryKind.FILE, 0o755, 19),
    ]
    script = (
        "code/run && echo more >> code/a && mv code/deep code/deeper && rm code/link && "
        "echo new > code/deeper/c && mkdir code/deep && cat code/a code/deeper/b"
    )
    async with running_executor(tmp_path / "x") as executor:
        await executor.prepare(JOB)
        contents = b"one" + b"two" + b"#!/bin/sh\necho ran\n"
        await executor.unpack(JOB, (b"code",), tree(entries, contents))
        code, out, err = await ran(executor, SH, "-c", script)
        assert (code, out) == (0, "ran\nonemore\ntwo"), err
        assert await names(executor) == ["code/a", "code/deeper/b", "code/deeper/c", "code/run"]
        found = (await executor.scan(JOB, (b"code",))).found
        assert [one.parts for one in found if one.kind is EntryKind.LINK] == []
        if not executor.enforceable()[Limit.DISK_FS]:
            given = tmp_path / "x" / "jobs" / JOB / "work" / "code"
            assert (given / "a").read_bytes() == b"one"
            assert sorted(os.listdir(given)) == ["a", "deep", "link", "run"]


async def test_what_a_task_changes_of_its_inputs_counts_as_its_disk(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        skip_without_disks(executor)
        await executor.prepare(JOB)
        await put_large(executor, JOB, 24)
        code, _, err = await ran(executor, SH, "-c", "echo x >> data", disk_bytes=4 * MIB)
        assert code != 0
        assert "No space left" in err
        (file,) = await executor.list_files(JOB, "data")
    assert file.size == 24 * MIB


async def test_ten_thousand_inputs_are_one_mount(tmp_path: Path) -> None:
    entries = [TreeEntry(b"%05d" % number, EntryKind.FILE, 0o644, 1) for number in range(10_000)]
    script = "grep -c . /proc/self/mountinfo; ls in | wc -l; cat in/0999* | wc -c"
    async with running_executor(tmp_path / "x") as executor:
        await executor.prepare(JOB)
        _, plain, _ = await ran(executor, SH, "-c", "grep -c . /proc/self/mountinfo")
        await executor.forget(JOB)
        await executor.prepare(JOB)
        await executor.unpack(JOB, (b"in",), tree(entries, b"x" * 10_000))
        code, out, err = await ran(executor, SH, "-c", script)
    assert (code, out.split()) == (0, [plain.strip(), "10000", "10"]), err


async def test_folders_whose_names_mean_something_to_overlayfs_serve(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "a:b,c=d\\ e") as executor:
        await executor.prepare(JOB)
        await executor.put_file(JOB, ".swarm.upper/in:a,b", some(b"given"))
        code, out, err = await ran(executor, SH, "-c", "mkdir .swarm.scratch; cat .swarm.upper/*")
        assert (code, out) == (0, "given"), err


async def test_an_output_may_have_the_name_of_an_input(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        await executor.prepare(JOB)
        await executor.put_file(JOB, "data", some(b"given"))
        script = "tr a-z A-Z < data > new && mv new data && mkdir out && ln data out/data"
        code, _, err = await ran(executor, SH, "-c", script)
        assert code == 0, err
        assert b"".join([piece async for piece in executor.read_file(JOB, "data")]) == b"GIVEN"
        assert await names(executor) == ["data", "out/data"]


@needs_python
async def test_a_task_has_no_way_to_the_file_system_beneath(tmp_path: Path) -> None:
    script = (
        "import errno, os\n"
        "def tried(step):\n"
        "    try: step()\n"
        "    except OSError as exc: return errno.errorcode[exc.errno]\n"
        "    return 'done'\n"
        "print(tried(lambda: os.setxattr('in', 'trusted.overlay.opaque', b'y')),\n"
        "      tried(lambda: os.setxattr('in', 'trusted.overlay.redirect', b'/x')),\n"
        "      tried(lambda: os.mknod('w', 0o20600, 0)),\n"
        "      tried(lambda: open('/.swarm.upper')), tried(lambda: open('../in/f')),\n"
        "      *(name for name in os.listxattr('in') if 'overlay' in name))\n"
    )
    async with running_executor(tmp_path / "x") as executor:
        await executor.prepare(JOB)
        await executor.put_file(JOB, "in/f", some(b"x"))
        code, out, err = await ran(executor, PYTHON, "-c", script)
    assert code == 0, err
    # The kernel lets everybody make a whiteout; where no disk is laid over inputs it means nothing.
    harmless = {"done"} if os.geteuid() else set()
    assert set(out.split()[2:3]) <= {"EPERM"} | harmless
    assert set(out.split()[:2] + out.split()[3:]) <= {"EPERM", "ENOENT", "ENOTSUP", "EOPNOTSUPP"}


@pytest.mark.parametrize("name", ["..", "../x", "/x", "a/../../x", "."])
async def test_an_input_that_would_lie_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    async with running_executor(tmp_path / "x") as executor:
        await executor.prepare(JOB)
        with pytest.raises(OutputUnsafeError):
            await executor.put_file(JOB, name, some(b"x"))
        assert sorted(os.listdir(tmp_path / "x" / "jobs" / JOB / "work")) == []


async def test_a_link_out_of_an_input_is_refused_and_one_that_a_task_makes_leads_nowhere(
    tmp_path: Path,
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    script = f"rm in; ln -s {secret} in; ln -s /proc/self/root{secret} b; cat in b; ls -l in"
    async with running_executor(tmp_path / "x") as executor:
        await executor.prepare(JOB)
        async with aclosing(forged(os.fsencode(f"../../../..{secret}"))) as chunks:
            with pytest.raises(OutputUnsafeError):
                await executor.unpack(JOB, (b"in",), chunks)
        await executor.put_file(JOB, "in", some(b"given"))
        _, out, _ = await ran(executor, SH, "-c", script)
        assert out.startswith("l")
        with pytest.raises(OutputUnsafeError):
            await executor.read_file(JOB, "in").__anext__()
    assert secret.read_text() == "secret"


def forged(target: bytes) -> AsyncGenerator[bytes, None]:
    """A tree with a link that we would not write."""
    page = encode(TreePage((ROOT, TreeEntry(b"l", EntryKind.LINK, target=target))))
    framed = len(page).to_bytes(4) + page
    head = encode(TreeHead(2, 1, len(framed), 0))
    return some(MAGIC + len(head).to_bytes(4) + head + framed)


async def test_inputs_of_all_tasks_together_are_bounded(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x", given_bytes_max=3 * MIB) as executor:
        for job in ("a.1", "b.1"):
            await executor.prepare(JobId(job))
        await put_large(executor, JobId("a.1"), 2)
        for _ in range(2):  # what breaks off is not counted
            with pytest.raises(ExecutorUnavailableError, match=r"compute\.disk_gib"):
                await put_large(executor, JobId("b.1"), 2)
        assert await executor.list_files(JobId("b.1"), "**") == ()
        await executor.forget(JobId("a.1"))
        await put_large(executor, JobId("b.1"), 2)


async def test_inputs_leave_the_machines_disk_some_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 48) as disk:
        async with running_executor(disk / "x") as executor:
            await executor.prepare(JOB)
            with pytest.raises(ExecutorUnavailableError, match="no room"):
                await put_large(executor, JOB, 47)
            assert await names(executor) == []
            await put_large(executor, JOB, 16)


async def test_what_the_next_node_finds_given_counts_there_too(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x", given_bytes_max=3 * MIB) as executor:
        await executor.prepare(JOB)
        await put_large(executor, JOB, 2)
        await executor.start(spec(JOB, SH, "-c", "sleep 600"))
        async with running_executor(tmp_path / "x", given_bytes_max=3 * MIB) as again:
            await again.prepare(JobId("b.1"))
            with pytest.raises(ExecutorUnavailableError, match="inputs"):
                await put_large(again, JobId("b.1"), 2)


async def test_files_that_are_open_at_the_end_of_a_task_are_there_whole(tmp_path: Path) -> None:
    script = "exec 3>>in; echo more >&3; (sleep 60 >&3 &); cp in copy"
    async with running_executor(tmp_path / "x") as executor:
        await executor.prepare(JOB)
        await executor.put_file(JOB, "in", some(b"given\n"))
        code, _, err = await ran(executor, SH, "-c", script)
        assert code == 0, err
        for name in ("in", "copy"):
            data = b"".join([piece async for piece in executor.read_file(JOB, name)])
            assert data == b"given\nmore\n"
