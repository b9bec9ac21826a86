"""Outputs chosen by patterns: a task that leaves many names, and asks for many, freezes no node."""

import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import trio

from p2p.errors import RemoteRefusalError
from swarmnode.errors import OutputUnsafeError
from swarmnode.executor.fake.executor import FakeExecutor
from swarmnode.executor.fake.programs import Process, Run
from swarmnode.executor.port import JobId
from swarmnode.limits import OUTPUTS_APART_MAX
from swarmnode.tasks.messages import AskFiles, Phase, State
from swarmnode.tree.format import EntryKind, TreeEntry, write_index
from swarmnode.tree.limits import FILE_NAME_BYTES_MAX, OUTPUT_MATCHES_MAX
from swarmnode.tree.pattern import Pattern
from swarmnode.tree.scan import Found
from swarmnode.tree.select import select
from testnet.sim.seeded import simulated
from tests.job_lab import needs_bwrap, running_executor
from tests.seller_lab import TASK, SellerLab, task
from tests.unit.swarmnode.market.seller.service.test_files import ask_files

JOB = JobId("t.1")
MANY = 30_000
LONG_S = 10.0
"""What takes time for every two names takes minutes; each of these takes a second."""
SLOW = [Pattern(f"**/*a*a*a*a*b{number}") for number in range(250)]


def names(kind: EntryKind, target: bytes = b"") -> list[Found]:
    made = [f"n{number:05}".encode() for number in range(MANY)]
    return [Found((one,), kind, 0o644, target=target) for one in made]


@pytest.mark.parametrize(
    "found",
    [
        names(EntryKind.FOLDER),
        names(EntryKind.FILE),
        names(EntryKind.LINK, b"nowhere"),
        names(EntryKind.LINK, b"n00000"),
    ],
    ids=["folders", "files", "links that lead nowhere", "links in a ring"],
)
def test_many_names_are_chosen_in_time_that_grows_with_them(found: list[Found]) -> None:
    began_s = time.thread_time()
    chosen = select(found, [Pattern("*"), Pattern("n*")])
    assert time.thread_time() - began_s < LONG_S
    assert len(chosen.pieces) <= OUTPUTS_APART_MAX


def test_more_names_than_so_many_patterns_may_choose_from_are_refused_with_the_remedy() -> None:
    many = [*names(EntryKind.FILE)][: OUTPUT_MATCHES_MAX // len(SLOW) + 1]
    with pytest.raises(OutputUnsafeError, match="name folders instead"):
        select(many, SLOW)
    assert select(many, [Pattern(f"n{number:05}") for number in range(250)]).missing == ()


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    await trio.lowlevel.checkpoint()
    yield data


@needs_bwrap
async def test_a_node_goes_on_while_it_looks_for_outputs(tmp_path: Path) -> None:
    made = [TreeEntry(b"a" * 60 + str(number).encode(), EntryKind.FILE) for number in range(300)]
    tree = [TreeEntry(b"", EntryKind.FOLDER, 0o755), *sorted(made, key=lambda one: one.parts)]
    beats = 0

    async def beat(*, task_status: trio.TaskStatus[None]) -> None:
        nonlocal beats
        task_status.started()
        while True:
            await trio.sleep(0.001)
            beats += 1

    async with running_executor(tmp_path / "x") as executor, trio.open_nursery() as nursery:
        await executor.prepare(JOB)
        await executor.unpack(JOB, (b"d",), pieces(write_index(tree)))
        await executor.scan(JOB)
        await nursery.start(beat)
        before = beats
        _, chosen = await executor.select(JOB, SLOW)
        assert beats > before + 2
        assert len(chosen.missing) == len(SLOW)
        nursery.cancel_scope.cancel()


def long_names(process: Process, _arguments: Sequence[str]) -> Run:
    for number in range(OUTPUTS_APART_MAX):
        folders = "/".join([f"{number:02}" + "x" * 198] * (FILE_NAME_BYTES_MAX // 201))
        process.write(f"{folders}/f", b"x")
    yield 1e6
    return 0


@simulated
async def test_outputs_whose_names_fit_no_message_are_a_fault_and_stored_once_at_a_time() -> None:
    lab = SellerLab(executor=FakeExecutor(programs={"long": long_names}))
    async with lab.running() as alice, trio.open_nursery() as nursery:
        await alice.award(task("long", outputs=("**/f",)), TASK)
        await alice.until(State, lambda state: state.phase is Phase.RUNNING)
        busy = 0

        async def ask() -> None:
            nonlocal busy
            try:
                told, _ = await ask_files(alice, AskFiles(TASK, 1))
            except RemoteRefusalError as refusal:
                busy += refusal.code == "busy"
            else:
                assert (told.files, "names" in told.fault) == ((), True)

        async with trio.open_nursery() as asking:
            for _ in range(5):
                asking.start_soon(ask)
        assert busy == 4
        await ask()
        assert not lab.pool.objects
        nursery.cancel_scope.cancel()
