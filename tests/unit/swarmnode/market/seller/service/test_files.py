"""What goes into a job's work folder and what comes out of it: files and folders, any names."""

from collections.abc import Sequence

import pytest

from p2p.errors import RemoteRefusalError
from p2p.ids import TrafficClass
from swarmnode.executor.fake.executor import FakeExecutor
from swarmnode.executor.fake.programs import Process, Run
from swarmnode.tasks.checkpoint import StoredFile
from swarmnode.tasks.messages import (
    AskFiles,
    CancelJob,
    FilesTold,
    GiveSignal,
    Phase,
    SignalGiven,
    State,
)
from swarmnode.tree.format import EntryKind, TreeEntry, write_index
from swarmnode.tree.unpack import IndexReader
from testnet.sim.seeded import simulated
from tests.seller_lab import BOB, TASK, Alice, SellerLab, task, until

TREE = (
    write_index(
        (
            TreeEntry(b"", EntryKind.FOLDER, 0o755),
            TreeEntry(b".env", EntryKind.FILE, 0o600, 3),
            TreeEntry(b"\xff", EntryKind.FOLDER, 0o755),
            TreeEntry(b"\xff/run", EntryKind.FILE, 0o755, 3),
        )
    )
    + b"envrun"
)


def leaves(process: Process, arguments: Sequence[str]) -> Run:
    """leaves CODE NAME...: files with their own names in them."""
    for name in arguments[1:]:
        process.write(name, name.encode())
    yield 0.0
    return int(arguments[0])


def many(process: Process, arguments: Sequence[str]) -> Run:
    for number in range(int(arguments[0])):
        process.write(f"out/{number:04}", b"x")
    yield 0.0
    return 0


def endless(process: Process, _arguments: Sequence[str]) -> Run:
    process.write("log.txt", b"so far")
    yield 1e6
    return 0


def lab_of() -> SellerLab:
    return SellerLab(executor=FakeExecutor(programs={"leaves": leaves, "many": many}))


async def names_in(lab: SellerLab, file: StoredFile) -> list[bytes]:
    assert file.tree
    whole = IndexReader().feed(await lab.bytes_of(file))
    assert whole is not None
    return [entry.path for entry in whole[0].entries]


@simulated
async def test_a_folder_comes_in_and_goes_out_as_one_object() -> None:
    lab = lab_of()
    async with lab.running() as alice:
        cap = await lab.put(TREE)
        spec = task("leaves", "0", "code/new", inputs=(("code", cap),), outputs=("code",))
        await alice.award(spec, TASK)
        (folder,) = (await alice.result(TASK)).outcome.outputs
        assert folder.name == "code"
        assert await names_in(lab, folder) == [b"", b".env", b"new", b"\xff", b"\xff/run"]


@simulated
async def test_a_folder_may_be_the_work_folder_itself() -> None:
    lab = lab_of()
    async with lab.running() as alice:
        cap = await lab.put(TREE)
        spec = task("leaves", "0", inputs=((".", cap),), outputs=(r"\xff/run", ".env"))
        await alice.award(spec, TASK)
        env, program = (await alice.result(TASK)).outcome.outputs
        assert (env.name, await lab.bytes_of(env)) == (".env", b"env")
        assert (program.name, await names_in(lab, program)) == (r"\xff/run", [b""])


@pytest.mark.parametrize(
    "name", [".env", "-rf", "a b", "epoch=3-step=500.ckpt", "a\nb", r"\xff", "u\u0308"]
)
@simulated
async def test_any_name_comes_in_and_goes_out(name: str) -> None:
    lab = lab_of()
    async with lab.running() as alice:
        cap = await lab.put(b"x")
        await alice.award(task("leaves", "0", inputs=((name, cap),), outputs=(name,)), TASK)
        (file,) = (await alice.result(TASK)).outcome.outputs
        assert (file.name, await lab.bytes_of(file)) == (name, b"x")


@simulated
async def test_thousands_of_files_are_one_object() -> None:
    lab = lab_of()
    async with lab.running() as alice:
        await alice.award(task("many", "3000", outputs=("out/*",)), TASK)
        (file,) = (await alice.result(TASK)).outcome.outputs
        assert file.name == "."
        assert len(await names_in(lab, file)) == 3002


def changing(process: Process, arguments: Sequence[str]) -> Run:
    """Writes two files after a while, one of them over an input."""
    yield 2.0
    process.write(".env", b"new")
    process.write("results/deep/model", b"new")
    process.write("mod/__pycache__/x.pyc", b"cached")
    yield 0.0
    return int(arguments[0])


@simulated
async def test_what_a_task_added_or_changed_comes_back_as_one_object() -> None:
    lab = SellerLab(executor=FakeExecutor(programs={"changing": changing, "leaves": leaves}))
    async with lab.running() as alice:
        cap = await lab.put(TREE)
        await alice.award(task("changing", "3", inputs=((".", cap),), changes=True), TASK)
        (whole,) = (await alice.result(TASK)).outcome.outputs
        assert (whole.name, whole.tree) == (".", True)
        assert await names_in(lab, whole) == [
            b"",
            b".env",
            b"results",
            b"results/deep",
            b"results/deep/model",
        ]


@simulated
async def test_of_a_task_that_changed_nothing_nothing_comes_back() -> None:
    lab = lab_of()
    async with lab.running() as alice:
        cap = await lab.put(TREE)
        await alice.award(task("leaves", "0", inputs=((".", cap),), changes=True), TASK)
        outcome = (await alice.result(TASK)).outcome
        assert (outcome.status, outcome.outputs) == ("done", ())


@simulated
async def test_a_task_that_fails_gives_back_what_there_is() -> None:
    lab = lab_of()
    async with lab.running() as alice:
        await alice.award(task("leaves", "3", "log.txt", outputs=("model", "log.*")), TASK)
        outcome = (await alice.result(TASK)).outcome
        assert (outcome.status, outcome.reason, outcome.exit_code) == ("failed", "exit", 3)
        assert [file.name for file in outcome.outputs] == ["log.txt"]


@simulated
async def test_what_a_running_job_has_made_is_stored_when_its_buyer_asks() -> None:
    lab = SellerLab(executor=FakeExecutor(programs={"endless": endless}))
    async with lab.running() as alice:
        await alice.award(task("endless", outputs=("log.txt", "model")), TASK)
        await alice.until(State, lambda state: state.phase is Phase.RUNNING)
        for _ in range(2):
            told, _ = await ask_files(alice, AskFiles(TASK, 1))
            assert [await lab.bytes_of(file) for file in told.files] == [b"so far"]
            assert told.fault == ""
            assert len(lab.pool.objects) == 1
        with pytest.raises(RemoteRefusalError, match="does not run here"):
            await ask_files(alice, AskFiles(TASK, 2))
        alice.rpc.cast(BOB, CancelJob(TASK, 1, "cancelled"))
        (left,) = (await alice.result(TASK)).outcome.outputs
        await until(lambda: not lab.job_ids())
        assert len(lab.pool.objects) == 1  # what was asked for in between is gone
        assert await lab.bytes_of(left) == b"so far"


@simulated
async def test_a_signal_reaches_the_job_of_who_acts_for_it_alone() -> None:
    lab = SellerLab(executor=FakeExecutor(programs={"endless": endless}))
    async with lab.running() as alice:
        await alice.award(task("endless"), TASK)
        await alice.until(State, lambda state: state.phase is Phase.RUNNING)
        for wrong in (GiveSignal(TASK, 2, "INT"), GiveSignal(TASK, 1, "KILL")):
            with pytest.raises(RemoteRefusalError):
                await give_signal(alice, wrong)
        await give_signal(alice, GiveSignal(TASK, 1, "INT"))
        outcome = (await alice.result(TASK)).outcome
        assert (outcome.status, outcome.reason, outcome.exit_code) == ("failed", "signal", 130)


async def give_signal(alice: Alice, asked: GiveSignal) -> None:
    await alice.rpc.call(
        BOB, asked, SignalGiven, traffic_class=TrafficClass.INTERACTIVE, timeout_s=5.0
    )


async def ask_files(alice: Alice, asked: AskFiles) -> tuple[FilesTold, bytes]:
    return await alice.rpc.call(
        BOB, asked, FilesTold, traffic_class=TrafficClass.NORMAL, timeout_s=60.0
    )


@simulated
async def test_a_task_that_is_cancelled_gives_back_what_there_is() -> None:
    lab = SellerLab(executor=FakeExecutor(programs={"endless": endless}))
    async with lab.running() as alice:
        await alice.award(task("endless", outputs=("log.txt", "model")), TASK)
        await alice.until(State, lambda state: state.phase is Phase.RUNNING)
        alice.rpc.cast(BOB, CancelJob(TASK, 1, "cancelled"))
        outcome = (await alice.result(TASK)).outcome
        assert (outcome.status, outcome.reason) == ("stopped", "cancelled")
        assert [file.name for file in outcome.outputs] == ["log.txt"]


@simulated
async def test_a_success_without_all_its_outputs_fails_and_keeps_the_others() -> None:
    lab = lab_of()
    async with lab.running() as alice:
        await alice.award(task("leaves", "0", "log.txt", outputs=("model", "log.*")), TASK)
        outcome = (await alice.result(TASK)).outcome
        assert (outcome.status, outcome.reason) == ("failed", "outputs")
        assert outcome.detail == "no file matches 'model'"
        assert [file.name for file in outcome.outputs] == ["log.txt"]


@simulated
async def test_a_hostile_folder_is_the_tasks_own_fault() -> None:
    lab = lab_of()
    async with lab.running() as alice:
        cap = await lab.put(TREE[:-1])
        await alice.award(task("leaves", "0", inputs=(("code", cap),)), TASK)
        outcome = (await alice.result(TASK)).outcome
        assert (outcome.status, outcome.reason) == ("failed", "inputs")
        assert "ends early" in outcome.detail


LEADS_OUT = (
    write_index(
        (
            TreeEntry(b"", EntryKind.FOLDER, 0o755),
            TreeEntry(b"out", EntryKind.FOLDER, 0o755),
            TreeEntry(b"out/best", EntryKind.LINK, target=b"../log.txt"),
            TreeEntry(b"out/metrics", EntryKind.FILE, 0o644, 3),
        )
    )
    + b"0.9"
)


@simulated
async def test_what_could_not_be_kept_is_told_of_a_command_that_failed_too() -> None:
    lab = lab_of()
    async with lab.running() as alice:
        inputs = ((".", await lab.put(LEADS_OUT)),)
        await alice.award(task("leaves", "3", inputs=inputs, outputs=("out", "model")), TASK)
        outcome = (await alice.result(TASK)).outcome
        assert (outcome.status, outcome.reason, outcome.exit_code) == ("failed", "exit", 3)
        assert outcome.detail.startswith("exit code 3; left out: 'out/best' is a link")
        assert "model" not in outcome.detail, "it failed before it came so far"


@simulated
async def test_a_link_out_of_a_folder_is_named_also_while_its_task_runs() -> None:
    lab = SellerLab(executor=FakeExecutor(programs={"endless": endless}))
    async with lab.running() as alice:
        inputs = ((".", await lab.put(LEADS_OUT)),)
        await alice.award(task("endless", inputs=inputs, outputs=("out",)), TASK)
        await alice.until(State, lambda state: state.phase is Phase.RUNNING)
        told, _ = await ask_files(alice, AskFiles(TASK, 1))
        assert await names_in(lab, told.files[0]) == [b"", b"metrics"]
        assert "'out/best' is a link that leads out" in told.fault
