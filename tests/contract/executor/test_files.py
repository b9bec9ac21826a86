"""What every Executor promises of a job's files: what goes in comes out, and nothing else."""

import pytest

from p2p.wire.codec import encode
from swarmnode.errors import (
    OutputUnsafeError,
    TreeChangedError,
)
from swarmnode.tree.format import MAGIC, EntryKind, TreeEntry, TreeHead, TreePage, write_index
from tests.executor_lab import JOB, Machine, broken, pieces, read
from tests.job_lab import MIB, run_job, spec


async def test_files_go_in_and_come_out(machine: Machine) -> None:
    async with machine.node() as executor:
        await executor.prepare(JOB)
        await executor.put_file(JOB, "in/data.bin", pieces(b"ab", b"c" * MIB))
        ended, _, err = await run_job(executor, spec("t.1", *machine.argv("copy in/data.bin out")))
        assert ended.code == 0, err
        listed = await executor.list_files(JOB, "**")
        assert [(file.name, file.size) for file in listed] == [
            ("in/data.bin", MIB + 2),
            ("out", MIB + 2),
        ]
        assert [file.name for file in await executor.list_files(JOB, "*")] == ["out"]
        assert [file.name for file in await executor.list_files(JOB, "in/")] == ["in/data.bin"]
        assert await read(executor, "out") == b"ab" + b"c" * MIB
        await executor.forget(JOB)


async def test_what_a_job_was_given_is_not_counted_as_its_disk(machine: Machine) -> None:
    async with machine.node() as executor:
        await executor.prepare(JOB)
        await executor.put_file(JOB, "data", pieces(*[bytes(MIB)] * 4))
        ended, _, err = await run_job(
            executor, spec("t.1", *machine.argv("write out x"), disk_bytes=2 * MIB)
        )
        assert (ended.code, ended.reason) == (0, "exit"), err
        await executor.forget(JOB)


async def test_nothing_is_left_of_a_file_whose_stream_broke(machine: Machine) -> None:
    async with machine.node() as executor:
        await executor.prepare(JOB)
        with pytest.raises(ConnectionError):
            await executor.put_file(JOB, "data", broken())
        assert await executor.list_files(JOB, "**") == ()
        await executor.forget(JOB)


@pytest.mark.parametrize(
    "name", [".env", "-rf", "a b", "a=b", "a\nb", "u\u0308", r"\xff\\", "x" * 255]
)
async def test_every_name_goes_in_and_comes_out(machine: Machine, name: str) -> None:
    async with machine.node() as executor:
        await executor.prepare(JOB)
        await executor.put_file(JOB, f"./in//{name}", pieces(b"x"))
        assert [file.name for file in await executor.list_files(JOB, "**")] == [f"in/{name}"]
        assert await read(executor, f"in/{name}") == b"x"
        await executor.forget(JOB)


async def test_a_folder_goes_in_and_comes_out_as_one_tree(machine: Machine) -> None:
    tree = write_index(
        (
            TreeEntry(b"", EntryKind.FOLDER, 0o755),
            TreeEntry(b".env", EntryKind.FILE, 0o644, 2),
            TreeEntry(b"bin", EntryKind.FOLDER, 0o755),
            TreeEntry(b"bin/run", EntryKind.FILE, 0o755, 3),
            TreeEntry(b"now", EntryKind.LINK, target=b"bin/run"),
        )
    )
    async with machine.node() as executor:
        await executor.prepare(JOB)
        for _ in range(2):  # staging may be done again after a crash
            await executor.unpack(JOB, (b"code",), pieces(tree[:20], tree[20:] + b"a", b"brun"))
        looked = await executor.scan(JOB, (b"code",))
        assert [one.parts[1:] for one in looked.found] == [
            (), (b".env",), (b"bin",), (b"bin", b"run"), (b"now",),
        ]  # fmt: skip
        out = b"".join([one async for one in executor.pack(JOB, (b"code",), looked.found)])
        assert out == tree + b"abrun"
        await executor.forget(JOB)


async def test_nothing_is_packed_of_files_that_changed_since_the_look(machine: Machine) -> None:
    async with machine.node() as executor:
        await executor.prepare(JOB)
        await executor.put_file(JOB, "a", pieces(b"one"))
        looked = await executor.scan(JOB)
        await executor.put_file(JOB, "a", pieces(b"other"))
        with pytest.raises(TreeChangedError, match="'a'"):
            [one async for one in executor.pack(JOB, (), looked.found)]
        await executor.forget(JOB)


async def test_a_hostile_tree_leaves_nothing(machine: Machine) -> None:
    root = TreeEntry(b"", EntryKind.FOLDER, 0o755)
    forged = encode(TreePage((root, TreeEntry(b"../x", EntryKind.FILE, 0o644, 1))))
    framed = len(forged).to_bytes(4) + forged
    head = encode(TreeHead(2, 1, len(framed), 1))
    data = MAGIC + len(head).to_bytes(4) + head + framed + b"x"
    async with machine.node() as executor:
        await executor.prepare(JOB)
        with pytest.raises(OutputUnsafeError):
            await executor.unpack(JOB, (), pieces(data))
        assert await executor.list_files(JOB, "**") == ()
        await executor.forget(JOB)


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../b", "a\\b", ".", ""])
async def test_unsafe_names_are_refused(machine: Machine, name: str) -> None:
    async with machine.node() as executor:
        await executor.prepare(JOB)
        with pytest.raises(OutputUnsafeError):
            await executor.put_file(JOB, name, pieces(b"x"))
        with pytest.raises(OutputUnsafeError):
            await read(executor, name)
        await executor.forget(JOB)
