"""Checkpoints of a seller: gone on from, given up."""

import json

import trio

from swarmnode.tasks.checkpoint import CheckpointRecord
from swarmnode.tasks.messages import CancelJob, Checkpointed
from testnet.sim.seeded import simulated
from tests.seller_lab import BOB, CHECKPOINTS, TASK, SellerLab, task, until_settled


@simulated
async def test_a_task_that_moves_goes_on_from_its_last_checkpoint() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        spec = task("train", "60", "1", "10", checkpoint=CHECKPOINTS, outputs=("result.json",))
        await alice.award(spec, TASK)
        told = await alice.until(Checkpointed, lambda m: m.checkpoint.step >= 30)
        alice.rpc.cast(BOB, CancelJob(TASK, 1, "moved"))
        del alice.renewed[TASK, 1]
        await until_settled(lab)
        await alice.award(spec, TASK, 2, restore=told.checkpoint)
        result = await alice.result(TASK, 2)
        first = json.loads(alice.log(TASK, 2).splitlines()[0])
        assert first == {"first_step": told.checkpoint.step}
        assert json.loads(await lab.bytes_of(result.outcome.outputs[0])) == {
            "total": sum(range(61))
        }


@simulated
async def test_checkpoints_of_a_task_that_is_done_are_given_up() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        await alice.award(task("train", "30", "1", "10", checkpoint=CHECKPOINTS), TASK)
        await alice.result(TASK)
        await until_settled(lab)
        await trio.sleep(1)
        assert not lab.objects.entries()


@simulated
async def test_a_checkpoint_that_cannot_be_restored_makes_the_machine_unfit() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        spec = task("train", "60", "1", "10", checkpoint=CHECKPOINTS)
        await alice.award(spec, TASK)
        told = await alice.until(Checkpointed)
        lost: CheckpointRecord = told.checkpoint
        lab.pool.objects.clear()
        await alice.award(spec, TASK, 2, restore=lost)
        assert (await alice.result(TASK, 2)).outcome.status == "unfit"
