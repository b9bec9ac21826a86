"""The table "Who may" of docs/protocol.md, tried by the wrong party, message by message."""

import pytest
import trio

from p2p.identity.caller import Caller
from storage import messages as m
from storage.facade import NameValue
from swarmnode.tasks.lifecycle import TaskState
from testnet.sim.seeded import simulated
from tests.security.who_may import member_rows, storage_rows, task_rows
from tests.security.who_may.scene import DATA, MATE, OTHER, ROWS, answers, ordered, scene_with

PARTS = (storage_rows, task_rows, member_rows)
"""Each adds its rows to ROWS."""


@pytest.mark.parametrize("who", [MATE, OTHER], ids=["of the lab", "of another lab"])
@simulated
async def test_a_member_changes_nothing_of_anothers(who: Caller) -> None:
    async with scene_with(who) as scene:
        before = await scene.standing()
        for name, (act, mate, other) in ROWS.items():
            came = await act(scene)
            assert answers(mate if who is MATE else other, came), f"{name}: {came}"
            assert await scene.standing() == before, name
        await trio.sleep(120)  # nor later
        assert await scene.standing() == before
        node = scene.world["m0"].up
        assert await node.storage.names.machine().read("secret") == NameValue(1, 0, b"v")
        await node.storage.names.machine().write("secret", b"w", expected=1, fence=0)
        assert (
            b"".join([part async for part in node.storage.objects.get(scene.receipt.cap)]) == DATA
        )
        assert await node.storage.objects.forget(scene.receipt.cap.address)
        assert (await node.market.buyer.cancel(scene.task)).record.state is TaskState.CANCELLED


@pytest.mark.parametrize("who", [MATE, OTHER], ids=["of the lab", "of another lab"])
@simulated
async def test_anybody_may_bring_the_order_of_the_labs_key(who: Caller) -> None:
    async with scene_with(who) as scene:
        whole = ordered(scene, "lab-0", scene.lease, is_whole=True)
        came = await scene.ask(whole, m.LeaseDropped)
        assert isinstance(came, m.LeaseDropped)
        node = scene.world["m0"].up
        assert node.storage.leases.row(scene.lease) is None
        assert node.storage.tombstones.of([scene.lease])
        (entry,) = node.storage.objects.entries()
        assert entry.removed_why == "mine"


def test_every_part_of_the_table_is_there() -> None:
    assert {act.__module__ for act, _, _ in ROWS.values()} >= {part.__name__ for part in PARTS}
