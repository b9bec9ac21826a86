"""Alice submits, whoever has room runs it: both sides of the market together, on virtual time."""

import pytest
import trio

from p2p.errors import RemoteRefusalError
from p2p.gossip.items import RESOURCES
from p2p.host.memory.host import MemoryHost, memory_address
from p2p.host.rpc.service import Rpc
from p2p.ids import PeerId, TrafficClass
from p2p.membership.view import Liveness
from storage.engine.memory_tables import MemoryTables
from storage.errors import StoreFullError
from swarmnode.errors import SpecError, TaskUnknownError, TooManyTasksError
from swarmnode.market.buyer import service as buyer
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.messages import LogTaken, PushLog
from swarmnode.tasks.spec import CheckpointSpec, PriorityClass
from testnet.sim.seeded import simulated
from tests.market_lab import MarketLab, log_of, running, task


@simulated
async def test_a_task_goes_from_submit_to_result_with_its_log() -> None:
    async with MarketLab("alice", "bob", "carol", lends=["bob", "carol"]).running() as lab:
        alice = lab["alice"].market
        task_id = await alice.buyer.submit(task("echo", "hello"))
        view = await alice.buyer.wait(task_id)
        assert view.state is TaskState.DONE
        assert view.record.outcome is not None
        assert view.record.outcome.exit_code == 0
        assert view.record.provider in ("bob", "carol")
        assert await log_of(alice, task_id) == b"hello\n"
        assert [one.task for one in alice.buyer.tasks()] == [task_id]
        assert alice.buyer.counters["tasks_done"] == alice.buyer.counters["auctions"] == 1


@simulated
async def test_a_node_alone_runs_its_own_tasks() -> None:
    async with MarketLab("alice").running() as lab:
        alice = lab["alice"].market
        view = await alice.buyer.wait(await alice.buyer.submit(task("echo", "hello")))
        assert (view.state, view.record.provider) == (TaskState.DONE, "alice")


@simulated
async def test_many_tasks_share_the_machines_and_all_end() -> None:
    async with MarketLab("alice", "bob", "carol").running() as lab:
        began_s = trio.current_time()
        ids = [
            await lab[name].market.buyer.submit(task("sleep", "3"))
            for name in ("alice", "bob", "carol")
            for _ in range(16)
        ]
        for name, task_id in zip(("alice", "bob", "carol"), ids[::16], strict=True):
            assert not lab[name].market.buyer.task(task_id).has_ended
        for at, task_id in enumerate(ids):
            market = lab[("alice", "bob", "carol")[at // 16]].market
            assert (await market.buyer.wait(task_id)).state is TaskState.DONE
        # 48 tasks of three seconds, twelve at a time.
        assert trio.current_time() - began_s < 25


@simulated
async def test_a_reader_that_follows_gets_the_log_as_it_grows() -> None:
    async with MarketLab("alice", "bob", lends=["bob"]).running() as lab:
        alice = lab["alice"].market
        task_id = await alice.buyer.submit(task("train", "5", "1", "100"))
        began_s = trio.current_time()
        pieces = alice.buyer.logs(task_id, "stdout", follow=True)
        at_s = [trio.current_time() - began_s async for _ in pieces]
        assert at_s[0] < 4
        assert len(at_s) >= 3
        assert (await alice.buyer.wait(task_id)).state is TaskState.DONE


@simulated
async def test_a_lost_machine_is_replaced_and_the_last_checkpoint_restored() -> None:
    async with MarketLab("alice", "bob", "carol", lends=["bob", "carol"]).running() as lab:
        alice = lab["alice"].market
        spec = task("train", "30", "1", "5", checkpoint=CheckpointSpec("checkpoint", 1000))
        task_id = await alice.buyer.submit(spec)
        provider = await running(alice, task_id)
        await trio.sleep(17)
        await lab.kill(provider)
        lab.lose(provider)
        view = await alice.buyer.wait(task_id)
        assert view.state is TaskState.DONE
        first, second = view.record.attempts
        assert (first.provider, first.ended_as) == (provider, "lost")
        assert second.restored_step >= 1
        assert view.record.retries_used == 0
        assert alice.buyer.counters["providers_lost"] == 1


@simulated
async def test_a_buyer_killed_meanwhile_goes_on_without_a_new_attempt() -> None:
    async with MarketLab("alice", "bob", lends=["bob"]).running() as lab:
        task_id = await lab["alice"].market.buyer.submit(task("train", "20", "1", "100"))
        await running(lab["alice"].market, task_id)
        await lab.kill("alice")
        await trio.sleep(6)
        await lab.start("alice")
        alice = lab["alice"].market
        view = await alice.buyer.wait(task_id)
        assert view.state is TaskState.DONE
        assert len(view.record.attempts) == 1
        lines = (await log_of(alice, task_id)).splitlines()
        assert len(lines) == len(set(lines)) > 0


@simulated
async def test_a_node_killed_with_its_own_task_goes_on_with_it() -> None:
    async with MarketLab("alice").running() as lab:
        task_id = await lab["alice"].market.buyer.submit(task("train", "20", "1", "100"))
        await running(lab["alice"].market, task_id)
        for _ in range(3):
            await trio.sleep(2)
            await lab.kill("alice")
            await lab.start("alice")
        view = await lab["alice"].market.buyer.wait(task_id)
        assert view.state is TaskState.DONE
        assert len(view.record.attempts) == 1


@simulated
async def test_a_paused_machine_gives_its_tasks_away() -> None:
    async with MarketLab("alice", "bob", "carol", lends=["bob", "carol"]).running() as lab:
        alice = lab["alice"].market
        spec = task("train", "20", "1", "2", checkpoint=CheckpointSpec("checkpoint", 1000))
        task_id = await alice.buyer.submit(spec)
        provider = await running(alice, task_id)
        await trio.sleep(9)
        began_s = trio.current_time()
        await lab[provider].market.seller.pause(grace_s=3.0)
        assert trio.current_time() - began_s < 5
        assert lab[provider].market.seller.lending.stats().paused
        view = await alice.buyer.wait(task_id)
        assert view.state is TaskState.DONE
        assert [one.ended_as for one in view.record.attempts] == ["stopped", "done"]
        assert view.record.attempts[1].restored_step > 0
        await lab[provider].market.seller.resume()
        assert not lab[provider].market.seller.lending.stats().paused


@simulated
async def test_cancelling_ends_the_task_there_too() -> None:
    async with MarketLab("alice", "bob", lends=["bob"]).running() as lab:
        alice = lab["alice"].market
        task_id = await alice.buyer.submit(task("sleep", "1000"))
        await running(alice, task_id)
        assert (await alice.buyer.cancel(task_id)).state is TaskState.CANCELLED
        assert (await alice.buyer.wait(task_id)).state is TaskState.CANCELLED
        await trio.sleep(5)
        assert lab["bob"].market.seller.lending.stats().jobs_running == 0
        assert (await alice.buyer.cancel(task_id)).state is TaskState.CANCELLED


@simulated
async def test_explain_shows_every_bid_and_why_others_were_not_asked() -> None:
    async with MarketLab("alice", "bob", "carol", lends=["bob", "carol"]).running() as lab:
        alice = lab["alice"].market
        task_id = await alice.buyer.submit(task("echo", "x", avoid=(PeerId("carol"),)))
        await alice.buyer.wait(task_id)
        explained = alice.buyer.explain(task_id)
        entry = explained.rounds[-1]
        (line,) = entry.bids
        assert (line.peer, line.kind, line.won) == ("bob", "held", True)
        assert line.score == sum(value for _, value in line.parts)
        assert dict(entry.unfit) == {
            PeerId("alice"): "lends nothing",
            PeerId("carol"): "the task avoids it",
        }


@simulated
async def test_a_dry_run_refuses_what_the_submission_refuses() -> None:
    async with MarketLab("alice", "bob").running() as lab:
        alice, spec = lab["alice"].market, task("echo", priority_class=PriorityClass.OWNER)
        for ask in (alice.buyer.submit, alice.buyer.dry_run):
            with pytest.raises(SpecError, match="class owner is for"):
                await ask(spec, "ben")
        await alice.buyer.dry_run(spec)


@simulated
async def test_a_dry_run_leaves_no_trace() -> None:
    async with MarketLab("alice", "bob").running() as lab:
        alice = lab["alice"].market
        explained = await alice.buyer.dry_run(task("echo", "x"))
        assert sorted(line.peer for line in explained.rounds[0].bids) == ["alice", "bob"]
        assert sum(line.won for line in explained.rounds[0].bids) == 1
        await trio.sleep(1)
        assert not alice.buyer.tasks()
        assert lab["bob"].market.seller.lending.stats().holds == 0
        explained = await alice.buyer.dry_run(task("echo", "x", env="torch"))
        assert "no environment 'torch'" in explained.view.record.why


@simulated
async def test_a_task_nobody_can_run_says_why_and_starts_when_somebody_can() -> None:
    async with MarketLab("alice", "bob", lends=["bob"]).running() as lab:
        alice = lab["alice"].market
        await lab["bob"].market.seller.pause(grace_s=0)
        task_id = await alice.buyer.submit(task("echo", "x"))
        await trio.sleep(20)
        assert "paused by its owner" in alice.buyer.task(task_id).record.why
        began_s = trio.current_time()
        await lab["bob"].market.seller.resume()
        assert (await alice.buyer.wait(task_id)).state is TaskState.DONE
        assert trio.current_time() - began_s < 5


@simulated
async def test_an_advert_that_makes_no_sense_rules_its_machine_out() -> None:
    async with MarketLab("alice", "bob", lends=["bob"]).running() as lab:
        lab["bob"].scope.cancel()
        await lab["bob"].gone.wait()
        lab.board.tell(PeerId("bob"), b"\xff nonsense")
        task_id = await lab["alice"].market.buyer.submit(task("echo", "x"))
        await trio.sleep(1)
        assert "has not told what it lends" in lab["alice"].market.buyer.task(task_id).record.why
        assert set(lab.board.items(RESOURCES)) == {"alice", "bob"}


@simulated
async def test_unknown_tasks_and_streams_are_told() -> None:
    async with MarketLab("alice").running() as lab:
        alice = lab["alice"].market
        nobody = TaskId("z" * 16)
        for ask in (alice.buyer.task, alice.buyer.explain):
            with pytest.raises(TaskUnknownError):
                ask(nobody)
        with pytest.raises(TaskUnknownError):
            await alice.buyer.cancel(nobody)
        with pytest.raises(TaskUnknownError):
            await alice.buyer.wait(nobody)
        task_id = await alice.buyer.submit(task("echo", "x"))
        with pytest.raises(ValueError, match="no stream 'sideways'"):
            alice.buyer.logs(task_id, "sideways", follow=False)


@simulated
async def test_only_the_holder_of_the_newest_attempt_may_push_logs() -> None:
    async with MarketLab("alice", "bob", lends=["bob"]).running() as lab:
        alice = lab["alice"].market
        task_id = await alice.buyer.submit(task("sleep", "100"))
        await running(alice, task_id)
        host = MemoryHost(lab.network, PeerId("mallory"))
        host.learn(PeerId("alice"), [memory_address(PeerId("alice"))])
        rpc = Rpc(host)
        async with trio.open_nursery() as nursery:
            await nursery.start(rpc.run)
            await nursery.start(host.run)
            with pytest.raises(RemoteRefusalError) as caught:
                await rpc.call(
                    PeerId("alice"),
                    PushLog(task_id, 1, "stdout", 0),
                    LogTaken,
                    traffic_class=TrafficClass.NORMAL,
                    timeout_s=5,
                    body=b"lies",
                )
            assert caught.value.code == "stale"
            nursery.cancel_scope.cancel()
        assert await log_of(alice, task_id) == b""


@simulated
async def test_a_submit_that_finds_the_disk_full_takes_nothing_on() -> None:
    lab = MarketLab("alice")
    lab["alice"].tables = MemoryTables(capacity_bytes=0)
    async with lab.running():
        with pytest.raises(StoreFullError):
            await lab["alice"].market.buyer.submit(task("echo", "x"))
        assert not lab["alice"].market.buyer.tasks()


@simulated
async def test_on_a_full_disk_nobody_waits_in_silence_for_a_task_to_be_taken_on_or_cancelled() -> (
    None
):
    async with MarketLab("alice", "bob", lends=["bob"]).running() as lab:
        market, tables = lab["alice"].market, lab["alice"].tables
        task_id = await market.buyer.submit(task("sleep", "1000"))
        await running(market, task_id)
        tables.is_full = True
        await lab.kill("bob")  # there is something to be written down
        with trio.fail_after(120):
            while not market.trouble:  # noqa: ASYNC110
                await trio.sleep(0.1)
        assert "disk is full" in market.trouble
        with trio.fail_after(1), pytest.raises(StoreFullError):
            await market.buyer.submit(task("echo", "x"))
        with trio.fail_after(1), pytest.raises(StoreFullError, match="is cancelled once there is"):
            await market.buyer.cancel(task_id)
        tables.is_full = False
        await trio.sleep(3)
        assert market.trouble == ""
        assert market.buyer.task(task_id).record.state is TaskState.CANCELLED  # as was said
        assert (await market.buyer.cancel(task_id)).state is TaskState.CANCELLED


@simulated
async def test_a_cancel_or_removal_that_finds_the_disk_full_is_told_that_it_comes_later() -> None:
    async with MarketLab("alice", "bob", lends=["bob"]).running() as lab:
        market, tables = lab["alice"].market, lab["alice"].tables
        runs, done = [await market.buyer.submit(task("sleep", at)) for at in ("1000", "1")]
        await market.buyer.wait(done)
        await running(market, runs)
        for act, word in (
            (market.buyer.cancel(runs), "is cancelled once there is room, unless the node stops"),
            (market.buyer.forget(done), "goes once there is room, unless the node stops before"),
        ):
            tables.is_full = True
            with trio.fail_after(5), pytest.raises(StoreFullError, match=word):
                await act
            tables.is_full = False
            await trio.sleep(3)
        assert [(one.task, one.state) for one in market.buyer.tasks()] == [
            (runs, TaskState.CANCELLED)
        ]


@simulated
async def test_a_job_that_filled_its_machine_s_disk_ends_by_the_room_set_aside() -> None:
    async with MarketLab("alice", "bob", lends=["bob"]).running() as lab:
        alice = lab["alice"].market
        task_id = await alice.buyer.submit(task("sleep", "5"))
        await running(alice, task_id)
        lab["bob"].tables.is_full = True  # until the job's folder is gone, which waits for its end
        with trio.fail_after(60):
            assert (await alice.buyer.wait(task_id)).state is TaskState.DONE


@simulated
async def test_a_machine_whose_disk_takes_nothing_says_so_to_who_asks_for_room() -> None:
    async with MarketLab("alice", "bob", lends=["bob"]).running() as lab:
        alice, tables = lab["alice"].market, lab["bob"].tables
        tables.is_full = tables.is_reserve_gone = True
        task_id = await alice.buyer.submit(task("sleep", "5"))
        with trio.fail_after(120):
            while "the disk of this machine is full" not in repr(alice.buyer.task(task_id)):  # noqa: ASYNC110
                await trio.sleep(0.5)
        tables.is_full = False
        with trio.fail_after(120):
            assert (await alice.buyer.wait(task_id)).state is TaskState.DONE


@simulated
async def test_too_many_unfinished_tasks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buyer, "TASKS_OPEN_MAX", 2)
    async with MarketLab("alice", lends=[]).running() as lab:
        alice = lab["alice"].market
        for _ in range(2):
            await alice.buyer.submit(task("echo", "x"))
        with pytest.raises(TooManyTasksError):
            await alice.buyer.submit(task("echo", "x"))
        await alice.buyer.cancel(alice.buyer.tasks()[0].task)
        await alice.buyer.submit(task("echo", "x"))


# -- the event stream


@simulated
async def test_a_machine_that_membership_forgets_is_forgotten_here_too() -> None:
    async with MarketLab("alice", "bob", "carol", lends=["bob"]).running() as lab:
        market, roster = lab["alice"].market, lab["alice"].roster
        await trio.sleep(10)
        roster.stands(PeerId("carol"), Liveness.DEAD)
        roster.forget(PeerId("carol"))
        await trio.sleep(10)
        core = market.buyer._core
        assert set(core._book.machines) == {"alice", "bob"}
        assert not core._book.keeper._shelf.roster.stays(PeerId("carol"))
