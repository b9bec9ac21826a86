"""What every Executor promises: real jobs in a sandbox, and generators in memory."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from p2p.wire.codec import encode
from p2p.workers import ThreadWorkers
from swarmnode.errors import (
    EnvironmentUnknownError,
    JobRunningError,
    JobUnknownError,
    OutputUnsafeError,
    TreeChangedError,
)
from swarmnode.executor.fake.executor import FakeExecutor
from swarmnode.executor.fake.programs import Process, Run
from swarmnode.executor.port import Executor, JobId, JobSpec
from swarmnode.executor.process import ProcessExecutor
from swarmnode.executor.sandbox.capability import ExecutorConfig
from swarmnode.tree.format import MAGIC, EntryKind, TreeEntry, TreeHead, TreePage, write_index
from tests.job_lab import MIB, needs_bwrap, run_job, spec

JOB = JobId("t.1")
PYTHON = "/usr/bin/python3"


@dataclass(frozen=True)
class Machine:
    """`node` runs an executor as a node does; a second one finds what the first one left."""

    node: Callable[[], AbstractAsyncContextManager[Executor]]
    argv: Callable[[str], tuple[str, ...]]
    """From the words of a fake program to what does the same here."""


def real_argv(words: str) -> tuple[str, ...]:
    name, *rest = words.split()
    script = {
        "sleep": "exec sleep $1",
        "stubborn": "trap '' TERM; sleep $1; sleep $1",
        "echo": 'echo "$@"',
        "exit": "exit $1",
        "write": 'mkdir -p "$(dirname $1)"; printf %s "$2" > $1',
        "copy": "cp $1 $2",
        "missing": "",
        "ticks": "i=0; while [ $i -lt $1 ]; do echo $i; i=$((i+1)); sleep 0.02; done; exit 7",
    }[name]
    return ("/bin/sh", "-c", script, name, *rest) if script else ("missing",)


def ticks(process: Process, arguments: Sequence[str]) -> Run:
    for tick in range(int(arguments[0])):
        process.say(str(tick))
        yield 0.02
    return 7


@pytest.fixture(params=["real", "fake"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    if request.param == "real":
        if needs_bwrap.args[0]:
            pytest.skip(needs_bwrap.kwargs["reason"])
        return Machine(lambda: process_node(tmp_path / "x"), real_argv)
    fake = FakeExecutor(programs={"ticks": ticks})
    return Machine(lambda: fake_node(fake), lambda words: tuple(words.split()))


@asynccontextmanager
async def process_node(folder: Path) -> AsyncIterator[Executor]:
    executor = ProcessExecutor(folder, ExecutorConfig(), {}, ThreadWorkers())
    async with serving(executor):
        if trouble := executor.trouble():
            pytest.skip(trouble)
        yield executor


@asynccontextmanager
async def fake_node(fake: FakeExecutor) -> AsyncIterator[Executor]:
    async with serving(fake):
        yield fake


@asynccontextmanager
async def serving(executor: Executor) -> AsyncIterator[None]:
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(executor.run)
            yield
            nursery.cancel_scope.cancel()


async def start(executor: Executor, what: JobSpec) -> None:
    await executor.prepare(what.job)
    await executor.start(what)


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def broken() -> AsyncIterator[bytes]:
    yield b"half"
    raise ConnectionError("the holder went away")


async def read(executor: Executor, name: str) -> bytes:
    return b"".join([piece async for piece in executor.read_file(JOB, name)])


async def test_a_job_prints_and_ends_and_is_remembered(machine: Machine) -> None:
    async with machine.node() as executor:
        ended, out, err = await run_job(executor, spec("t.1", *machine.argv("echo hello swarm")))
        (view,) = executor.jobs()
        await executor.forget(JOB)
        assert executor.jobs() == []
    assert (ended.code, ended.reason, out, err) == (0, "exit", "hello swarm\n", "")
    assert (view.job, view.exit) == (JOB, ended)
    assert view.pid > 0
    assert view.started_ms >= 0


async def test_the_code_of_a_failing_program_is_kept(machine: Machine) -> None:
    async with machine.node() as executor:
        ended, _, _ = await run_job(executor, spec("t.1", *machine.argv("exit 9")))
        await executor.forget(JOB)
    assert (ended.code, ended.reason) == (9, "exit")


async def test_a_program_that_is_not_there_ends_with_127_and_words(machine: Machine) -> None:
    async with machine.node() as executor:
        ended, _, err = await run_job(executor, spec("t.1", *machine.argv("missing")))
        await executor.forget(JOB)
    assert ended.code == 127
    assert "missing" in err


async def test_the_job_of_an_id_starts_only_once(machine: Machine) -> None:
    what = spec("t.1", *machine.argv("sleep 60"))
    async with machine.node() as executor:
        await executor.prepare(JOB)
        first = await executor.start(what)
        assert (await executor.start(what)).pid == first.pid
        await executor.stop(JOB, 0)
        assert (await executor.start(what)).exit is not None
        await executor.forget(JOB)


async def test_a_job_has_a_folder_from_its_preparation_until_it_is_forgotten(
    machine: Machine,
) -> None:
    async with machine.node() as executor:
        assert not executor.is_prepared(JOB)
        await executor.prepare(JOB)
        assert executor.is_prepared(JOB)
        await executor.start(spec("t.1", *machine.argv("exit 0")))
        await executor.wait(JOB)
        assert executor.is_prepared(JOB)
        await executor.forget(JOB)
        assert not executor.is_prepared(JOB)


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


async def test_a_job_over_its_wall_clock_is_killed(machine: Machine) -> None:
    what = spec("t.1", *machine.argv("stubborn 60"), wall_s=0.3)
    async with machine.node() as executor:
        ended, _, _ = await run_job(executor, what)
        await executor.forget(JOB)
    assert ended.reason == "wall"
    assert 0.3 <= ended.wall_s < 10


async def test_stop_ends_a_job_and_may_be_repeated(machine: Machine) -> None:
    async with machine.node() as executor:
        await start(executor, spec("t.1", *machine.argv("sleep 60")))
        with pytest.raises(JobRunningError):
            await executor.forget(JOB)
        ended = await executor.stop(JOB, 30.0)
        assert await executor.stop(JOB, 30.0) == ended
        await executor.forget(JOB)
    assert (ended.reason, ended.code) == ("killed", 143)
    assert ended.wall_s < 25


async def test_a_job_that_ignores_sigterm_is_killed_after_the_grace(machine: Machine) -> None:
    async with machine.node() as executor:
        await start(executor, spec("t.1", *machine.argv("stubborn 60")))
        await trio.sleep(0.3)  # the real one must come to say that it ignores it
        ended = await executor.stop(JOB, 0.3)
        await executor.forget(JOB)
    assert (ended.reason, ended.code) == ("killed", 137)


async def test_a_log_is_followed_by_offset_to_its_end(machine: Machine) -> None:
    async with machine.node() as executor:
        await start(executor, spec("t.1", *machine.argv("ticks 10")))
        log = b""
        while executor.jobs()[0].exit is None:
            log += await executor.read_log(JOB, "stdout", len(log), 3)
            await executor.log_grew(JOB, "stdout", len(log))
        while piece := await executor.read_log(JOB, "stdout", len(log), 3):
            log += piece
        await executor.log_grew(JOB, "stdout", len(log))
        await executor.forget(JOB)
    assert log.split() == [str(tick).encode() for tick in range(10)]


async def test_a_job_outlives_the_node_and_loses_no_byte(machine: Machine) -> None:
    async with machine.node() as executor:
        await start(executor, spec("t.1", *machine.argv("ticks 40")))
        await executor.log_grew(JOB, "stdout", 0)
        pid = executor.jobs()[0].pid
    async with machine.node() as executor:
        assert [view.pid for view in executor.jobs()] == [pid]
        ended = await executor.wait(JOB)
        log = await executor.read_log(JOB, "stdout", 0, MIB)
        await executor.forget(JOB)
    assert (ended.code, ended.reason) == (7, "exit")
    assert log.split() == [str(tick).encode() for tick in range(40)]


async def test_a_job_that_ended_while_no_node_ran_is_found(machine: Machine) -> None:
    async with machine.node() as executor:
        await start(executor, spec("t.1", *machine.argv("ticks 10")))
    await trio.sleep(0.5)
    async with machine.node() as executor:
        ended = await executor.wait(JOB)
        await executor.forget(JOB)
    assert (ended.code, ended.reason) == (7, "exit")


async def test_the_sweep_keeps_what_it_is_told_and_nothing_else(machine: Machine) -> None:
    async with machine.node() as executor:
        for job in ("keep.1", "stray.1"):
            await start(executor, spec(job, *machine.argv("sleep 60")))
        await executor.prepare(JobId("halfway.1"))
    async with machine.node() as executor:
        removed = await executor.sweep(frozenset({JobId("keep.1")}))
        assert removed == (JobId("halfway.1"), JobId("stray.1"))
        assert [view.job for view in executor.jobs()] == [JobId("keep.1")]
        assert executor.jobs()[0].exit is None
        assert await executor.sweep(frozenset()) == (JobId("keep.1"),)


async def test_a_job_that_was_only_prepared_can_be_forgotten(machine: Machine) -> None:
    async with machine.node() as executor:
        await executor.prepare(JOB)
        await executor.put_file(JOB, "data", pieces(b"x"))
        await executor.forget(JOB)
        with pytest.raises(JobUnknownError):
            await executor.list_files(JOB, "**")


async def test_what_nobody_knows_is_an_error(machine: Machine) -> None:
    async with machine.node() as executor:
        with pytest.raises(JobUnknownError):
            await executor.wait(JOB)
        with pytest.raises(JobUnknownError):
            await executor.stop(JOB, 0)
        with pytest.raises(JobUnknownError):
            await executor.read_log(JOB, "stdout", 0, 1)
        with pytest.raises(JobUnknownError):
            await executor.forget(JOB)
        with pytest.raises(EnvironmentUnknownError, match="torch"):
            await executor.start(spec("t.1", "x", environment="torch"))
        await executor.sweep(frozenset())


async def test_a_job_whose_lease_is_not_renewed_is_told_and_ends(machine: Machine) -> None:
    async with machine.node() as node:
        node.renew(JOB, 0.6, 0.3)
        await node.prepare(JOB)
        await node.start(spec(JOB, *machine.argv("sleep 600")))
        ended = await node.wait(JOB)
    assert ended.reason == "lease"
    assert ended.wall_s < 5


async def test_a_job_that_is_deaf_to_the_notice_ends_with_its_lease(machine: Machine) -> None:
    async with machine.node() as node:
        await node.prepare(JOB)
        node.renew(JOB, 1.6, 0.5)  # time to come to say that it is deaf
        await node.start(spec(JOB, *machine.argv("stubborn 600")))
        ended = await node.wait(JOB)
    assert ended.reason == "lease"
    assert 0.3 < ended.wall_s < 5


async def test_a_lease_ends_a_job_while_no_node_is_there(machine: Machine) -> None:
    async with machine.node() as node:
        node.renew(JOB, 0.8, 0.2)
        await node.prepare(JOB)
        await node.start(spec(JOB, *machine.argv("sleep 600")))
    async with machine.node() as node:
        ended = await node.wait(JOB)
    assert ended.reason == "lease"


async def test_a_renewed_lease_lets_the_job_go_on(machine: Machine) -> None:
    async with machine.node() as node:
        node.renew(JOB, 2.0, 0.1)  # a start takes its time on a busy machine
        await node.prepare(JOB)
        await node.start(spec(JOB, *machine.argv("sleep 2.3")))
        node.renew(JOB, 600, 10)
        node.renew(JOB, 0.5, 0.1)  # a lease only grows
        ended = await node.wait(JOB)
    assert (ended.reason, ended.code) == ("exit", 0)
