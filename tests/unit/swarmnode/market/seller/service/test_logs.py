"""Logs on their way from a seller to its buyer."""

import trio

from testnet.sim.seeded import simulated
from tests.seller_lab import TASK, WHOLE_LOG, chatty_lab, task


@simulated
async def test_output_gathers_while_nobody_reads_along() -> None:
    lab = chatty_lab()
    async with lab.running() as alice:
        await alice.award(task("chatty"), TASK)
        await alice.result(TASK)
        assert alice.log(TASK) == WHOLE_LOG
        assert alice.log(TASK, stream="stderr").count(b"\n") == 200
        assert alice.logs[TASK, 1, "stdout"].pushes < 30


@simulated
async def test_small_pieces_go_at_once_while_somebody_reads_along() -> None:
    lab = chatty_lab()
    async with lab.running() as alice:
        alice.follows = True
        await alice.award(task("chatty"), TASK)
        await alice.result(TASK)
        assert alice.log(TASK) == WHOLE_LOG
        assert alice.logs[TASK, 1, "stdout"].pushes > 100


@simulated
async def test_the_result_waits_for_the_last_byte_of_the_log() -> None:
    lab = chatty_lab()
    async with lab.running() as alice:
        alice.takes_logs = False
        await alice.award(task("chatty"), TASK)
        await trio.sleep(60)
        assert not [m for m in alice.heard if type(m).__name__ == "ResultTerms"]
        alice.takes_logs = True
        await alice.result(TASK)
        assert alice.log(TASK) == WHOLE_LOG


@simulated
async def test_a_log_goes_on_where_a_restarted_buyer_has_it() -> None:
    lab = chatty_lab()
    async with lab.running() as alice:
        await alice.award(task("chatty"), TASK)
        await trio.sleep(5)
        alice.logs[TASK, 1, "stdout"].data = alice.log(TASK)[:100]  # what was on its disk
        await alice.result(TASK)
        assert alice.log(TASK) == WHOLE_LOG
