"""Another machine acts for a task: whoever runs it brings everything that it printed there, too."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from p2p.ids import PeerId
from swarmnode.executor.fake.executor import FakeExecutor
from swarmnode.executor.fake.programs import Process, Run
from swarmnode.tasks.keys import task_id_of
from testnet.sim.seeded import simulated, until_slowly
from testnet.sim.signer import KeyedHashSigner
from tests.seller_lab import ALICE, Alice, SellerLab, task

CAROL = PeerId("carol")
KEY = b"k" * 32
TASK = task_id_of(KeyedHashSigner(ALICE).from_seed(KEY).peer_id)
SAID, WARNED = b"said at first\n", b"warned at first\n"


def _says(process: Process, arguments: list[str]) -> Run:
    process.say("said at first")
    process.say("warned at first", "stderr")
    yield 60.0
    if arguments:
        process.say(" ".join(arguments))
    return 0


def says_lab() -> SellerLab:
    return SellerLab(executor=FakeExecutor(programs={"says": _says}))  # type: ignore[dict-item]


@asynccontextmanager
async def two_buyers(
    *, give_receipts: bool = True
) -> AsyncIterator[tuple[SellerLab, Alice, Alice]]:
    """Alice, whose task it is, and carol, who acts for it once she claims it."""
    lab = says_lab()
    async with lab.running() as alice:
        carol = await lab.another(CAROL)
        alice.gives_receipts = carol.gives_receipts = give_receipts
        yield lab, alice, carol


def has_all(buyer: Alice) -> bool:
    return buyer.log(TASK) == SAID and buyer.log(TASK, stream="stderr") == WARNED


@simulated
async def test_what_was_printed_before_comes_at_once_though_nothing_more_is() -> None:
    async with two_buyers() as (_, alice, carol):
        await alice.award(task("says"), TASK)
        await until_slowly(lambda: has_all(alice), within_s=10)
        carol.claim(KEY, TASK, 2)
        await until_slowly(lambda: has_all(carol), within_s=5)
        assert (await carol.result(TASK)).outcome.status == "done"


@pytest.mark.parametrize("restarts", [False, True])
def test_log_and_result_come_again_until_somebody_has_written_them_down(restarts: bool) -> None:
    @simulated
    async def again() -> None:
        lab = says_lab()
        async with lab.running() as alice:
            alice.gives_receipts = False
            carol = await lab.another(CAROL)
            await alice.award(task("says"), TASK)
            await alice.result(TASK)
            if restarts:
                await lab.kill_bob()
                await lab.start_bob()
            carol.claim(KEY, TASK, 2)
            assert (await carol.result(TASK)).buyer == CAROL
            assert has_all(carol)
            await until_slowly(lambda: not lab.job_ids(), within_s=5)

    again()


@simulated
async def test_who_takes_over_between_the_last_byte_and_the_result_lacks_neither() -> None:
    """One stream was whole at the one before, the other is held up there."""
    async with two_buyers() as (_, alice, carol):
        await alice.award(task("says", "goodbye"), TASK)
        await until_slowly(lambda: has_all(alice), within_s=10)
        alice.takes_logs = False
        await trio.sleep(65)
        carol.claim(KEY, TASK, 2)
        await carol.result(TASK)
        assert carol.log(TASK) == SAID + b"goodbye\n"
        assert carol.log(TASK, stream="stderr") == WARNED


@simulated
async def test_a_claim_under_a_term_that_nobody_can_have_reached_is_not_obeyed() -> None:
    async with two_buyers() as (_, alice, carol):
        await alice.award(task("says"), TASK)
        await until_slowly(lambda: has_all(alice), within_s=10)
        carol.claim(KEY, TASK, 2**62)
        assert (await alice.result(TASK)).outcome.status == "done"
        assert carol.log(TASK) == b""


@simulated
async def test_claims_keep_an_ended_job_twice_as_long_at_most() -> None:
    async with two_buyers(give_receipts=False) as (lab, alice, carol):
        await alice.award(task("says"), TASK)
        await alice.result(TASK)
        for number in range(2, 7):
            (carol if number % 2 else alice).claim(KEY, TASK, number)
            await trio.sleep(300)
        assert lab.job_ids() == []


@simulated
async def test_a_claim_late_in_the_ten_minutes_has_its_own() -> None:
    async with two_buyers(give_receipts=False) as (lab, alice, carol):
        await alice.award(task("says"), TASK)
        await alice.result(TASK)
        await trio.sleep(590)
        carol.claim(KEY, TASK, 2)
        await carol.result(TASK)
        await trio.sleep(500)
        assert lab.job_ids()
        await trio.sleep(200)
        assert not lab.job_ids()
