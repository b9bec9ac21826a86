"""What nobody foresaw under one job ends that job: its node lives, and its task ends."""

import logging
from collections.abc import AsyncIterable, Callable, Sequence
from pathlib import Path

import pytest
import trio

from swarmnode.executor.fake.executor import FakeExecutor
from swarmnode.executor.port import JobExit, JobId, JobSecrets, JobSpec, JobView
from swarmnode.market.buyer.verdicts.held_back import REASON
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.messages import Phase, State
from swarmnode.tasks.records import FAULT, FAULT_WORDS
from swarmnode.tasks.spec import Shape, TaskSpec
from swarmnode.tasks.store import JOBS
from swarmnode.tree.names import Parts
from swarmnode.tree.pattern import Pattern
from swarmnode.tree.scan import Scan
from swarmnode.tree.select import Selection
from testnet.sim.seeded import simulated
from testnet.sim.world import World
from tests.job_lab import PYTHON, SH, needs_bwrap, needs_python, processes_with, running_executor
from tests.job_lab import spec as job_spec
from tests.seller_lab import CHECKPOINTS, TASK, SellerLab, task, until, until_settled

PLACES = (
    "prepare", "put_file", "start", "renew", "wait", "read_log", "log_grew", "select", "scan",
    "forget", "wait stop",
)  # fmt: skip


ENDED_BEFORE = ("read_log", "log_grew", "forget")
"""It had ended well: its outputs are its submitter's, whatever becomes of the rest."""


class FaultyExecutor(FakeExecutor):
    """Raises at these places what nobody catches, for some jobs."""

    def __init__(self, place: str = "", is_bad: Callable[[JobId], bool] = lambda _: True) -> None:
        super().__init__()
        self.places, self.is_bad, self.faults = place.split(), is_bad, 0

    def _fault(self, place: str, job: JobId) -> None:
        if place in self.places and self.is_bad(job):
            self.faults += 1
            raise IndexError(f"nobody foresaw {place}")

    async def prepare(self, job: JobId) -> None:
        self._fault("prepare", job)
        await super().prepare(job)

    async def put_file(self, job: JobId, name: str, chunks: AsyncIterable[bytes]) -> None:
        self._fault("put_file", job)
        await super().put_file(job, name, chunks)

    async def start(self, spec: JobSpec, secrets: JobSecrets | None = None) -> JobView:
        self._fault("start", spec.job)
        return await super().start(spec, secrets)

    def renew(self, job: JobId, left_s: float, notice_s: float) -> None:
        self._fault("renew", job)
        super().renew(job, left_s, notice_s)

    async def wait(self, job: JobId) -> JobExit:
        self._fault("wait", job)
        return await super().wait(job)

    async def read_log(self, job: JobId, stream: str, offset: int, bytes_max: int) -> bytes:
        self._fault("read_log", job)
        return await super().read_log(job, stream, offset, bytes_max)

    async def log_grew(self, job: JobId, stream: str, offset: int) -> None:
        self._fault("log_grew", job)
        await super().log_grew(job, stream, offset)

    async def select(self, job: JobId, patterns: Sequence[Pattern]) -> tuple[Scan, Selection]:
        self._fault("select", job)
        return await super().select(job, patterns)

    async def scan(self, job: JobId, base: Parts = ()) -> Scan:
        self._fault("scan", job)
        return await super().scan(job, base)

    async def forget(self, job: JobId) -> None:
        self._fault("forget", job)
        await super().forget(job)

    async def stop(self, job: JobId, grace_s: float) -> JobExit:
        self._fault("stop", job)
        return await super().stop(job, grace_s)


def of(task_id: str) -> Callable[[JobId], bool]:
    return lambda job: job.startswith(task_id)


@pytest.mark.parametrize("place", PLACES)
@simulated
async def test_a_fault_anywhere_under_one_job_ends_no_node_and_no_other_job(place: str) -> None:
    executor = FaultyExecutor(place, of(TASK))
    lab = SellerLab(executor=executor)
    other = type(TASK)("b" * 16)
    async with lab.running() as alice:
        cap = await lab.put(b"data")
        await alice.award(task("sleep", "40"), other)
        spec = task("write", "out", "text", inputs=(("in/a", cap),), outputs=("out",))
        await alice.award(spec, TASK)
        outcome = (await alice.result(TASK)).outcome
        if place in ENDED_BEFORE:
            assert outcome.status == "done"
            await until(lambda: executor.faults > 0)
        else:
            assert (outcome.status, outcome.reason) == ("stopped", FAULT)
            assert outcome.detail == FAULT_WORDS
            await until(lambda: all(not one.startswith(TASK) for one in lab.job_ids()))
        assert executor.faults
        assert (await alice.result(other)).outcome.status == "done"
        assert lab.bob.lending.stats().free == lab.bob.lending.stats().capacity
        assert not lab.gone.is_set()


@simulated
async def test_the_trace_is_logged_once_with_the_task(caplog: pytest.LogCaptureFixture) -> None:
    lab = SellerLab(executor=FaultyExecutor("select"))
    with caplog.at_level(logging.ERROR, "swarm"):
        async with lab.running() as alice:
            await alice.award(task("write", "out", "text", outputs=("out",)), TASK)
            assert (await alice.result(TASK)).outcome.reason == FAULT
            await until_settled(lab)
    (told,) = [one for one in caplog.records if one.name == "swarm"]
    assert TASK in told.getMessage()
    assert told.exc_info is not None
    assert "nobody foresaw select" in caplog.text


@simulated
async def test_a_job_whose_end_faulted_ends_no_node_that_comes_back() -> None:
    executor = FaultyExecutor("log_grew")
    lab = SellerLab(executor=executor)
    async with lab.running() as alice:
        alice.gives_receipts = False
        await alice.award(task("sleep", "5"), TASK)
        await trio.sleep(20)
        for _ in range(3):
            await lab.kill_bob()
            await lab.start_bob()
            await trio.sleep(20)
        alice.gives_receipts = True
        assert not lab.gone.is_set()
        await until_settled(lab)


@pytest.mark.parametrize("place", ["wait", "scan", "start", "renew"])
@simulated
async def test_a_job_that_was_left_and_faults_at_the_next_start_ends_no_node(place: str) -> None:
    executor = FaultyExecutor()
    lab = SellerLab(executor=executor)
    async with lab.running() as alice:
        await alice.award(task("sleep", "1000", checkpoint=CHECKPOINTS), TASK)
        await alice.until(State, lambda said: said.phase is Phase.RUNNING)
        await lab.kill_bob()
        executor.places = place.split()
        await lab.start_bob()
        outcome = (await alice.result(TASK)).outcome
        assert (outcome.status, outcome.reason) == ("stopped", FAULT)
        await until(lambda: not lab.tables.scan(JOBS))
        await lab.kill_bob()
        await lab.start_bob()
        await until_settled(lab)
        assert not lab.gone.is_set()


@simulated
async def test_a_task_under_which_every_node_faults_does_not_travel_for_ever() -> None:
    world = World(1, ["m0", "m1", "m2", "m3", "m4"], labs=1)
    executors = [FaultyExecutor("start") for _ in world.machines]
    for machine, executor in zip(world.machines.values(), executors, strict=True):
        machine.executor = executor
    async with world.running():
        await trio.sleep(20)
        shape = Shape(cpu_millis=1000, memory_bytes=1 << 30, disk_bytes=1 << 20)
        submitted = await world["m0"].up.market.buyer.submit(TaskSpec(("true",), shape=shape))
        with trio.fail_after(600):
            ended = await world["m0"].up.market.buyer.wait(submitted)
        assert ended.state is TaskState.FAILED
        assert ended.record.outcome is not None
        assert ended.record.outcome.reason == REASON
        assert "3 machines" in ended.record.why
        assert sum(one.faults for one in executors) == 3
        assert all(machine.node is not None for machine in world.machines.values())


@simulated
async def test_the_only_machine_of_a_pool_ends_it_after_some_tries() -> None:
    world = World(1, ["m0"], labs=1)
    world["m0"].executor = executor = FaultyExecutor("start")
    async with world.running():
        await trio.sleep(20)
        shape = Shape(cpu_millis=1000, memory_bytes=1 << 30, disk_bytes=1 << 20)
        submitted = await world["m0"].up.market.buyer.submit(TaskSpec(("true",), shape=shape))
        with trio.fail_after(3600):
            ended = await world["m0"].up.market.buyer.wait(submitted)
        assert ended.record.outcome is not None
        assert ended.record.outcome.reason == REASON
        assert executor.faults == 8


@needs_bwrap
@needs_python
async def test_a_request_of_a_task_that_its_node_cannot_bear_ends_that_task_only(
    tmp_path: Path,
) -> None:
    async def faulty(_job: JobId, _request: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        raise OverflowError("nobody foresaw that request")

    asks = (
        "import socket, time; s = socket.socket(socket.AF_UNIX); s.connect('/run/swarm/ctx.sock');"
        "s.sendall(b'\\0\\0\\0\\x02{}'); time.sleep(600)"
    )
    async with running_executor(tmp_path / "x") as executor:
        executor.on_call(faulty)
        for job in ("a.1", "b.1"):
            await executor.prepare(JobId(job))
        await executor.start(job_spec("b.1", SH, "-c", "sleep 2; exit 7"))
        await executor.start(job_spec("a.1", PYTHON, "-c", asks))
        assert (await executor.wait(JobId("a.1"))).reason == FAULT
        while processes_with("time.sleep(600)"):  # noqa: ASYNC110 - the kernel tells nobody
            await trio.sleep(0.01)
        await executor.forget(JobId("a.1"))
        assert [view.job for view in executor.jobs()] == ["b.1"]
        assert (await executor.wait(JobId("b.1"))).code == 7
