"""Numbers that others tell of logs: a place beyond every log, an attempt that never was."""

from pathlib import Path

import pytest
import trio

from p2p.ids import PeerId
from swarmnode.executor.port import JobId
from swarmnode.market.run.logs import LogPusher
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.messages import LogTaken
from swarmnode.tasks.records import JobRecord, RoomGrant
from swarmnode.tasks.spec import TaskSpec
from testnet.sim.seeded import simulated, until_slowly
from testnet.sim.world import World
from tests.job_lab import SH, needs_bwrap, run_job, running_executor, spec
from tests.my_machines_lab import PRINTS, printed, running_task

JOB = JobId("t.1")
MADE_UP = [-1, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1]


class Submitter:
    """Has so much of every log, it says."""

    def __init__(self, have: int) -> None:
        self.have = have

    async def call(self, *_what: object, **_how: object) -> tuple[LogTaken, bytes]:
        await trio.lowlevel.checkpoint()
        return LogTaken(self.have, followed=True), b""


@needs_bwrap
@pytest.mark.parametrize("have", MADE_UP)
async def test_a_submitter_that_has_more_than_any_log_ends_no_node(
    tmp_path: Path, have: int
) -> None:
    record = JobRecord(
        TaskId("t"), 1, PeerId("alice"), 0, TaskSpec((SH,)), RoomGrant(0, 0, 0), leased_ms=0
    )
    async with running_executor(tmp_path / "x") as executor:
        await run_job(executor, spec(JOB, SH, "-c", "echo hi"))
        pusher = LogPusher(Submitter(have), executor, record, "stdout")  # type: ignore[arg-type]
        pusher.end()
        with trio.fail_after(5):
            await pusher.run()


@pytest.mark.parametrize("place", [(2**53, 0), (2**64 - 1, 0), (2, 0), (1, 2**64 - 1)])
def test_an_attempt_that_a_guardian_makes_up_does_not_shut_the_log(place: tuple[int, int]) -> None:
    @simulated
    async def read() -> None:
        world = World(16, ["m0", "m1", "m2", "m3", "m4"], labs=1)
        async with world.running():
            task = await running_task(world, "m0", PRINTS)
            await world.kill("m0")
            await trio.sleep(60)
            for name in ("m1", "m2", "m3", "m4"):
                book = world[name].up.market.buyer.logbook
                book.piece_after = lambda *_: (*place, b"lies")  # type: ignore[method-assign]
            with trio.fail_after(30):
                assert len(await printed(world, "m4", task)) <= len(b"lies")
            await world.start("m0")
            market = world["m0"].up.market
            await until_slowly(lambda: market.buyer.task(task).state is TaskState.DONE, 600)
            text = await printed(world, "m0", task)
            assert b"lies" not in text
            assert text.splitlines()[-1] == b'{"total": 11325}'

    read()
