"""Running tasks count up in `ctx.state`: one linearizable history per task, whoever runs it."""

import json
import random
from typing import Any

import trio

from swarmnode.executor.port import JobId
from testnet.sim.chaos.options import Outcome
from testnet.sim.history import History, Seen
from testnet.sim.world import World

KEY = "count"


class StateWork:
    """R3: once a newer attempt has written, no older one does; and every write is seen."""

    def __init__(self, world: World, outcome: Outcome) -> None:
        self._world, self._outcome = world, outcome
        options = outcome.options
        self._dice = random.Random(f"state/{options.seed}/{options.nodes}")  # noqa: S311
        self._histories: dict[str, History] = {}

    async def count_up(self) -> None:
        """One job, of those that run anywhere, reads its count and sets the next."""
        running = [
            (name, view.job)
            for name, machine in self._world.machines.items()
            if machine.node is not None
            for view in machine.executor.jobs()
            if view.exit is None
        ]
        if not running:
            return
        name, job = self._dice.choice(running)
        task, _, fence = job.rpartition(".")
        history = self._histories.setdefault(task, History())
        with self._world.client(name):
            await self._count(history, name, job, int(fence))

    async def _count(self, history: History, name: str, job: str, fence: int) -> None:
        start_s = trio.current_time()
        reply = await self._ask(name, job, {"op": "state_get", "key": KEY})
        if "error" in reply:
            return
        held = reply["value"]
        count, wrote, _ = held["json"] if held else (0, 0, "")
        history.seen.append(_seen("read", start_s, count, wrote, held))
        wanted = {"json": [count + 1, fence, self._dice.getrandbits(32)]}
        start_s = trio.current_time()
        ask = {"op": "state_cas", "key": KEY, "expected": held, "value": wanted}
        reply = await self._ask(name, job, ask)
        if reply.get("done"):
            history.seen.append(_seen("write", start_s, count + 1, fence, wanted))

    async def _ask(self, name: str, job: str, request: dict[str, Any]) -> dict[str, Any]:
        executor = self._world[name].executor
        reply: dict[str, Any] = json.loads(
            await executor.ask(JobId(job), json.dumps(request).encode())
        )
        if reply.get("error") == "stale":
            self._outcome.reached["fencing"] += 1
        op, result = (
            request["op"],
            reply.get("error") or ("done" if reply.get("done", True) else "no"),
        )
        self._outcome.reached[f"{op}: {result}"] += 1
        return reply

    def check(self) -> None:
        """Where it is promised."""
        if not self._outcome.options.keeps_names:
            return
        for task, history in self._histories.items():
            for what in history.violations():
                self._outcome.violations.append(f"R3: ctx.state of {task}: {what}")


def _seen(kind: str, start_s: float, count: int, fence: int, value: object) -> Seen:
    packed = json.dumps(value).encode() if value else b""
    return Seen(kind, start_s, trio.current_time(), count, fence, packed)
