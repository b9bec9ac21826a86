"""Who reads along a log whose task ended while its submitter was away."""

from contextlib import aclosing
from itertools import product

import trio

from p2p.ids import PeerId
from p2p.membership.view import Liveness
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from testnet.sim.seeded import simulated
from tests.market_lab import MarketLab, log_of, running, task

TRAINED = b"".join(
    line + b"\n"
    for line in (
        b'{"first_step": 0}',
        *(b'{"step": %d}' % step for step in range(1, 61)),
        b'{"total": 1830}',
    )
)


async def _ended_while_away(lab: MarketLab) -> TaskId:
    """Alice's task runs on, ends under a guardian, and has printed most of it meanwhile."""
    task_id = await lab["alice"].market.buyer.submit(task("train", "60", "1", "1"))
    await trio.sleep(8)
    await lab.kill("alice")
    lab.lose("alice")
    await trio.sleep(300)
    return task_id


def _acting_for(lab: MarketLab, task_id: TaskId) -> str:
    """Who says that it acts for a task of alice's."""
    for name in lab.stands:
        if name not in ("alice", "bob"):
            kept = lab[name].market.buyer._core.custody.find(task_id)
            if kept is not None and kept.acting == name:
                return name
    raise AssertionError("nobody acts for it")


async def _lose_with_copies(lab: MarketLab, task_id: TaskId, acting: str) -> None:
    """Who ran it and who acted for it are gone; the other keepers know its end, not its log."""
    for name in lab.stands:
        if name not in ("alice", "bob", acting):
            await lab[name].market.buyer.logbook.forget(task_id)
    for gone in ("bob", acting):
        await lab.kill(gone)
        lab.lose(gone)


@simulated
async def test_a_follower_goes_on_until_the_rest_of_the_log_has_come_from_a_guardian() -> None:
    async with MarketLab("alice", "bob", "carol", lends=["bob", "carol"]).running() as lab:
        task_id = await _ended_while_away(lab)
        lab.find("alice")
        await lab.start("alice")
        buyer = lab["alice"].market.buyer
        with trio.fail_after(90):
            assert await log_of(lab["alice"].market, task_id, follow=True) == TRAINED
        view = buyer.task(task_id)
        assert (view.state, view.log_at) == (TaskState.DONE, "")


@simulated
async def test_a_follower_that_comes_as_soon_as_the_task_has_ended_has_all_too() -> None:
    async with MarketLab("alice", "bob", "carol", lends=["bob", "carol"]).running() as lab:
        task_id = await _ended_while_away(lab)
        lab.find("alice")
        await lab.start("alice")
        await lab["alice"].market.buyer.wait(task_id)
        with trio.fail_after(90):
            assert await log_of(lab["alice"].market, task_id, follow=True) == TRAINED


@simulated
async def test_who_reads_along_is_let_go_after_a_minute_when_who_has_the_rest_is_away() -> None:
    names = ("alice", "bob", "carol", "dave", "erin", "frank")
    async with MarketLab(*names, lends=["bob"]).running() as lab:
        lab["alice"].market.buyer.keep_copies(lambda: None)
        task_id = await _ended_while_away(lab)
        acting = _acting_for(lab, task_id)
        await _lose_with_copies(lab, task_id, acting)
        lab.find("alice")
        await lab.start("alice")
        buyer = lab["alice"].market.buyer
        buyer.keep_copies(lambda: None)
        with trio.fail_after(90):
            assert (await buyer.wait(task_id)).log_at == acting
        began_s = trio.current_time()
        partial = await log_of(lab["alice"].market, task_id, follow=True)
        assert 50 < trio.current_time() - began_s < 65
        assert TRAINED.startswith(partial)
        assert len(partial) < len(TRAINED)
        assert buyer.task(task_id).log_at == acting
        assert task_id not in buyer.uncopied(), "its guardian would let the log go"
        await lab.start(acting)
        lab.find(acting)
        await trio.sleep(20)
        assert buyer.task(task_id).log_at == ""
        assert await log_of(lab["alice"].market, task_id) == TRAINED


@simulated
async def test_what_only_other_keepers_have_of_a_log_comes_from_them() -> None:
    names = ("alice", "bob", "carol", "dave", "erin", "frank")
    async with MarketLab(*names, lends=["bob"]).running() as lab:
        task_id = await _ended_while_away(lab)
        acting = _acting_for(lab, task_id)
        await lab[acting].market.buyer.logbook.forget(task_id)  # it took over with less of it
        await lab.kill("bob")
        lab.lose("bob")
        lab.find("alice")
        await lab.start("alice")
        with trio.fail_after(90):
            await lab["alice"].market.buyer.wait(task_id)
            assert await log_of(lab["alice"].market, task_id, follow=True) == TRAINED
        await trio.sleep(10)
        assert lab["alice"].market.buyer.task(task_id).log_at == ""


@simulated
async def test_a_log_comes_from_another_keeper_when_who_acted_is_gone() -> None:
    names = ("alice", "bob", "carol", "dave", "erin", "frank")
    async with MarketLab(*names, lends=["bob"]).running() as lab:
        task_id = await _ended_while_away(lab)
        for gone in ("bob", _acting_for(lab, task_id)):
            await lab.kill(gone)
            lab.lose(gone)
        lab.find("alice")
        await lab.start("alice")
        with trio.fail_after(90):
            await lab["alice"].market.buyer.wait(task_id)
            assert await log_of(lab["alice"].market, task_id, follow=True) == TRAINED


@simulated
async def test_what_lacks_of_a_log_is_asked_for_again_after_a_restart() -> None:
    names = ("alice", "bob", "carol", "dave", "erin", "frank")
    async with MarketLab(*names, lends=["bob"]).running() as lab:
        task_id = await _ended_while_away(lab)
        acting = _acting_for(lab, task_id)
        await _lose_with_copies(lab, task_id, acting)
        lab.find("alice")
        await lab.start("alice")
        with trio.fail_after(90):
            assert (await lab["alice"].market.buyer.wait(task_id)).log_at == acting
        await lab.kill("alice")
        await lab.start("alice")
        buyer = lab["alice"].market.buyer
        buyer.keep_copies(lambda: None)
        await trio.sleep(20)
        assert buyer.task(task_id).log_at == acting
        assert task_id not in buyer.uncopied(), "its guardian would let the log go"
        await lab.start(acting)
        lab.find(acting)
        await trio.sleep(20)
        assert buyer.task(task_id).log_at == ""
        assert await log_of(lab["alice"].market, task_id) == TRAINED
        assert buyer.task(task_id).record.log_at == ()
        await lab.kill("alice")
        await lab.start("alice")
        assert lab["alice"].market.buyer.task(task_id).log_at == ""


@simulated
async def test_what_a_cut_off_submitter_began_in_vain_does_not_hide_what_ended_elsewhere() -> None:
    names = ("alice", "bob", "carol", "dave", "erin")
    async with MarketLab(*names, lends=["bob", "erin"]).running() as lab:
        buyer = lab["alice"].market.buyer
        task_id = await buyer.submit(task("train", "60", "1", "1"))
        provider = await running(lab["alice"].market, task_id)
        await trio.sleep(8)
        here = {PeerId("alice"), *(PeerId(one) for one in ("bob", "erin") if one != provider)}
        there = {PeerId(one) for one in names} - here
        _part(lab, here, there, Liveness.DEAD)
        async with aclosing(buyer.events()) as events:
            while buyer.task(task_id).record.fence == 1:  # it takes its provider for lost
                await anext(events)
        await trio.sleep(45)  # the first attempt has ended by now, the second one has not
        lab.network.heal()
        _part(lab, here, there, Liveness.ALIVE)
        await trio.sleep(60)
        view = buyer.task(task_id)
        assert (view.state, view.record.fence, view.log_at) == (TaskState.DONE, 1, "")
        assert await log_of(lab["alice"].market, task_id) == TRAINED


def _part(lab: MarketLab, here: set[PeerId], there: set[PeerId], liveness: Liveness) -> None:
    """Neither side hears the other, or both do again."""
    if liveness is Liveness.DEAD:
        lab.network.cut(sorted(here), sorted(there))
    for one, other in product(sorted(here), sorted(there)):
        lab[one].roster.stands(other, liveness)
        lab[other].roster.stands(one, liveness)
