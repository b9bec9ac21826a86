"""The secrets of a job: asked of its buyer before each start, and of nobody after it."""

import os

import msgspec
import pytest
import trio

from p2p.errors import RefusalError
from p2p.identity.caller import Caller
from swarmnode.executor.port import JobId, JobSecrets
from swarmnode.market.run.secrets import ASKED_FOR_S
from swarmnode.market.secrets.messages import AskSecrets, SecretsGiven
from swarmnode.tasks.messages import Phase, State
from swarmnode.tasks.secrets.box import Secrets, sealed_for_key
from swarmnode.tasks.spec import TaskSpec
from testnet.sim.seeded import simulated
from tests.seller_lab import TASK, Alice, SellerLab, task

VALUE = b"a value that is never written down"
JOB = JobId(f"{TASK}.1")


class Keeper:
    """Answers at alice; `refuses` says how, while it is not empty."""

    def __init__(self, alice: Alice, refuses: str = "") -> None:
        self.asked, self.refuses = 0, refuses
        self.secrets = Secrets((("hf", VALUE),))
        self.news = trio.Event()
        alice.rpc.serve(AskSecrets, self._on_ask, reply_bytes=lambda _ask, _body: 1 << 16)

    async def _on_ask(self, _: Caller, ask: AskSecrets, __: bytes) -> tuple[SecretsGiven, bytes]:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        self.news.set()
        if self.refuses:
            raise RefusalError(self.refuses, "in a test")
        purpose = f"{ask.task}.{ask.fence}"
        return SecretsGiven(), sealed_for_key(ask.key, purpose, self.secrets, os.urandom)


def secret_task() -> TaskSpec:
    return msgspec.structs.replace(task("sleep", "30"), secrets=(("hf", "HF_TOKEN"),))


def in_tables(lab: SellerLab) -> bool:
    names = ("jobs", "tasks", "task_secrets", "fences", "log_pages")
    return any(VALUE in value for name in names for _, value in lab.tables.scan(name))


@simulated
async def test_a_node_that_restarts_between_award_and_start_asks_again() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        keeper = Keeper(alice, refuses="busy")
        await alice.award(secret_task(), TASK)
        await keeper.news.wait()
        await lab.kill_bob()
        assert lab.bobs_executor.given == {}
        keeper.refuses = ""
        await lab.start_bob()
        await alice.until(State, lambda s: s.phase is Phase.RUNNING)
        await trio.sleep(2)
        assert lab.bobs_executor.given == {JOB: JobSecrets({"HF_TOKEN": VALUE}, {"hf": VALUE})}
        assert not in_tables(lab)
        asked = keeper.asked
        await lab.kill_bob()
        await lab.start_bob()
        assert (await alice.result(TASK)).outcome.status == "done"
        assert keeper.asked == asked, "what runs needs none again"


@simulated
async def test_a_job_whose_buyer_gives_none_in_time_is_given_back() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        Keeper(alice, refuses="busy")
        await alice.award(secret_task(), TASK)
        with trio.fail_after(ASKED_FOR_S + 10):
            outcome = (await alice.result(TASK)).outcome
        assert (outcome.status, outcome.reason) == ("unfit", "secrets")
        assert lab.bobs_executor.given == {}


@pytest.mark.parametrize("code", ["removed", "lab", "stale", "lost"])
@simulated
async def test_a_job_that_may_not_have_them_never_starts(code: str) -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        keeper = Keeper(alice, refuses=code)
        await alice.award(secret_task(), TASK)
        outcome = (await alice.result(TASK)).outcome
        assert (outcome.status, outcome.reason, keeper.asked) == ("unfit", "secrets", 1)
        assert lab.bobs_executor.given == {}


@simulated
async def test_a_buyer_that_gives_others_than_it_should_starts_nothing() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        keeper = Keeper(alice)
        keeper.secrets = Secrets((("another", VALUE),))
        await alice.award(secret_task(), TASK)
        outcome = (await alice.result(TASK)).outcome
        assert (outcome.status, outcome.detail) == ("unfit", "its submitter gave no secret 'hf'")


@simulated
async def test_a_buyer_whose_values_would_be_options_of_the_sandbox_starts_nothing() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        keeper = Keeper(alice)
        keeper.secrets = Secrets((("hf", b"x\0--bind\0/\0/run/host"),))
        await alice.award(secret_task(), TASK)
        outcome = (await alice.result(TASK)).outcome
        assert (outcome.status, outcome.reason) == ("unfit", "secrets")
        assert "NUL byte" in outcome.detail
        assert "bind" not in outcome.detail
        assert lab.bobs_executor.given == {}


@simulated
async def test_a_task_without_any_asks_nobody() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        keeper = Keeper(alice)
        await alice.award(task("sleep", "3"), TASK)
        assert (await alice.result(TASK)).outcome.status == "done"
        assert (keeper.asked, lab.bobs_executor.given) == (0, {JOB: None})
