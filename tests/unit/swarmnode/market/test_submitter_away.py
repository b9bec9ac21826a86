"""Tasks whose submitter goes away, under their guardians; and who a machine's owner is."""

import pytest
import trio

from swarmnode.errors import SpecError
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.spec import CheckpointSpec, PriorityClass, Shape
from testnet.sim.seeded import simulated
from tests.market_lab import MIB, MarketLab, log_of, running, task

TRAINED = b"".join(
    line + b"\n"
    for line in (
        b'{"first_step": 0}',
        *(b'{"step": %d}' % step for step in range(1, 61)),
        b'{"total": 1830}',
    )
)


@simulated
async def test_a_task_ends_under_a_guardian_and_its_submitter_finds_result_and_log() -> None:
    async with MarketLab("alice", "bob", "carol", lends=["bob", "carol"]).running() as lab:
        alice = lab["alice"].market
        task_id = await alice.buyer.submit(task("train", "60", "1", "1"))
        await trio.sleep(8)
        keepers = alice.buyer.task(task_id).keepers
        assert keepers is not None
        assert set(keepers.roster) == {"alice", "bob", "carol"}
        await lab.kill("alice")
        lab.lose("alice")
        await trio.sleep(300)
        for other in ("bob", "carol"):
            assert lab[other].market.buyer.tasks() == ()  # it is not theirs to see
        lab.find("alice")
        await lab.start("alice")
        with trio.fail_after(60):
            view = await lab["alice"].market.buyer.wait(task_id)
        assert view.state is TaskState.DONE
        assert len(view.record.attempts) == 1
        await trio.sleep(30)
        assert await log_of(lab["alice"].market, task_id) == TRAINED


@simulated
async def test_a_detached_task_outlives_a_submitter_that_goes_away_at_once() -> None:
    async with MarketLab("alice", "bob", "carol", lends=["bob", "carol"]).running() as lab:
        await trio.sleep(20)  # everybody knows everybody
        alice = lab["alice"].market
        began_s = trio.current_time()
        task_id = await alice.buyer.submit(task("train", "60", "1", "1"), detached=True)
        guarded = await alice.guardians.guarded(task_id)
        assert trio.current_time() - began_s < 1
        assert (set(guarded.holders), guarded.note) == ({"bob", "carol"}, "")
        await lab.kill("alice")
        lab.lose("alice")
        await trio.sleep(300)
        lab.find("alice")
        await lab.start("alice")
        with trio.fail_after(60):
            view = await lab["alice"].market.buyer.wait(task_id)
        assert view.state is TaskState.DONE
        assert view.record.outcome is not None
        ended_ms = view.record.attempts[-1].awarded_ms + view.record.outcome.usage.wall_ms
        assert ended_ms < lab.wall() - 60_000, "it ran while its submitter was away"


@simulated
async def test_in_a_pool_of_two_the_other_one_is_waited_for() -> None:
    async with MarketLab("alice", "bob").running() as lab:
        alice = lab["alice"].market
        guarded = await alice.guardians.guarded(
            await alice.buyer.submit(task("sleep", "30"), detached=True)
        )
        assert (guarded.holders, guarded.note) == (("bob",), "")


@simulated
async def test_a_detached_task_of_a_node_alone_is_kept_by_it_alone_and_nobody_is_waited_for() -> (
    None
):
    async with MarketLab("alice").running() as lab:
        alice = lab["alice"].market
        began_s = trio.current_time()
        guarded = await alice.guardians.guarded(
            await alice.buyer.submit(task("sleep", "30"), detached=True)
        )
        assert trio.current_time() - began_s < 1
        assert "kept by this machine alone" in guarded.note


@simulated
async def test_guardians_that_do_not_answer_are_waited_for_five_seconds_and_named() -> None:
    async with MarketLab("alice", "bob", "carol").running() as lab:
        alice = lab["alice"].market
        await lab.kill("carol")  # nobody has noticed yet
        began_s = trio.current_time()
        guarded = await alice.guardians.guarded(
            await alice.buyer.submit(task("sleep", "30"), detached=True)
        )
        assert 4.9 < trio.current_time() - began_s < 5.5
        assert guarded.holders == ("bob",)
        assert "1 of 2 guardians hold it" in guarded.note


@simulated
async def test_a_detached_task_that_is_over_at_once_is_not_waited_for() -> None:
    async with MarketLab("alice", "bob", "carol").running() as lab:
        alice = lab["alice"].market
        task_id = await alice.buyer.submit(task("echo", "x"), detached=True)
        await alice.buyer.wait(task_id)
        began_s = trio.current_time()
        assert (await alice.guardians.guarded(task_id)).note == ""
        assert trio.current_time() == began_s


# -- class owner


@simulated
async def test_the_owner_s_own_task_has_room_within_five_seconds_and_the_guest_goes_on() -> None:
    async with MarketLab("alice", "bob", "carol", lends=["alice", "carol"]).running() as lab:
        alice, bob = lab["alice"].market, lab["bob"].market
        whole = Shape(
            lab["alice"].market.seller.lending.stats().capacity.cpu_millis, 64 * MIB, 64 * MIB
        )
        kept = CheckpointSpec("checkpoint", every_ms=1000)
        spec = task("train", "100", "1", "1", shape=whole, avoid=("carol",), checkpoint=kept)
        guest = await bob.buyer.submit(spec)
        assert await running(bob, guest) == "alice"
        await trio.sleep(10)
        began_s = trio.current_time()
        mine = await alice.buyer.submit(
            task("sleep", "30", shape=whole, require=("alice",), priority_class=PriorityClass.OWNER)
        )
        assert await running(alice, mine) == "alice"
        assert trio.current_time() - began_s <= 5
        view = await alice.buyer.wait(mine)
        assert view.state is TaskState.DONE
        view = await bob.buyer.wait(guest)
        assert view.state is TaskState.DONE
        assert view.record.attempts[-1].restored_step > 5


@simulated
async def test_class_owner_elsewhere_is_refused_with_the_reason() -> None:
    async with MarketLab("alice", "bob", lends=["bob"]).running() as lab:
        alice = lab["alice"].market
        found = await alice.buyer.dry_run(task("sleep", "30", priority_class=PriorityClass.OWNER))
        (line,) = [bid for bid in found.rounds[0].bids if bid.peer == "bob"]
        assert (line.kind, line.reason.partition(":")[0]) == ("refused", "owner")


@simulated
async def test_another_person_of_the_machine_is_not_its_owner() -> None:
    async with MarketLab("alice").running() as lab:
        spec = task("sleep", "30", priority_class=PriorityClass.OWNER)
        with pytest.raises(SpecError):
            await lab["alice"].market.buyer.submit(spec, "eve")
