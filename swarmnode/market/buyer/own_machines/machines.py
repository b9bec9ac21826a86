"""The other machines of this node's person: what they have of tasks, and what is taken over."""

from collections.abc import Awaitable, Callable, Sequence

import trio

from p2p.mesh import Mesh
from p2p.wire.codec import encode
from storage.engine.port import Tables, WriteView
from swarmnode.market.buyer.core import Buyer
from swarmnode.market.buyer.events import Event, TakenUp
from swarmnode.market.buyer.own_machines.elsewhere import Elsewhere
from swarmnode.market.buyer.own_machines.hand_over import HandOver
from swarmnode.market.buyer.own_machines.left_behind import LeftBehind
from swarmnode.market.buyer.own_machines.standing import WhoseTask
from swarmnode.market.buyer.verdicts.once import taken_up
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.store import TASKS, load_forgotten, task_key


class OwnMachines:
    """Which of them has a task, and the way of tasks from one to another."""

    def __init__(
        self,
        mesh: Mesh,
        tables: Tables,
        core: Buyer,
        do: Callable[[Event], Awaitable[None]],
        begun: trio.Event,
        whose: WhoseTask,
    ) -> None:
        """`do` hands the core an event and returns once it is durable; `begun`: all is loaded."""
        self.elsewhere = Elsewhere(mesh, core, do, begun, whose)
        """Tasks that another machine has."""
        self.hand_over = HandOver(mesh.rpc.me, mesh.members, self.elsewhere.ask, core, do, begun)
        """Tasks of ours that another machine has for its own since it took this one over."""
        self.left_behind = LeftBehind(mesh, core.custody, begun, whose)
        """Tasks of a machine that is gone, as their guardians know them."""
        self._tables, self._core, self._do, self._begun = tables, core, do, begun
        self._wall_ms = mesh.wall_ms

    async def take_up(
        self, records: Sequence[TaskRecord], sure_ms: int = 0, *, is_told: bool = False
    ) -> None:
        """Go on with tasks that another machine of this person had submitted.

        Those known, or forgotten, here stay so. `is_told`: by their guardians. Else a copy knew of
        them, which may lack the logs of those that ended after `sure_ms`. Raises StoreFullError;
        then none is taken up.
        """
        await self._begun.wait()
        now_ms, ledger = self._wall_ms(), self._core.ledger
        forgotten = load_forgotten(self._tables)  # a copy may have brought some
        records = [record for record in records if record.task not in forgotten]
        fresh = [record for record in records if record.task not in ledger]
        new = [taken_up(record, now_ms, self._core.taken_over_ms) for record in fresh]

        def write(view: WriteView) -> None:
            for record in new:
                view.put(TASKS, task_key(record.task), encode(ledger.at_rest(record)))

        await self._tables.transact(write)
        known = [record for record in records if record.task in ledger]
        await self._do(TakenUp([*new, *known], sure_ms, is_told, forgotten))
