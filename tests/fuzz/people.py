"""What people do at the machines of a simulated world, so that there is something to disturb."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Final

import msgspec
import trio

from p2p.errors import P2PError
from storage.errors import StorageError
from storage.facade import ReadCap
from storage.manifests.capability import text_of_cap
from swarmnode.api.views import objects as object_views
from swarmnode.api.views import tasks as task_views
from swarmnode.errors import SwarmError
from swarmnode.executor.port import JobId
from swarmnode.node import Node
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.spec import CheckpointSpec, Repeatability, Shape, TaskSpec
from testnet.sim.world import World
from tests.fuzz.liar import WHO

REFUSALS: Final = (P2PError, StorageError, SwarmError, trio.TooSlowError)
_SHAPE: Final = Shape(cpu_millis=500, memory_bytes=1 << 28, disk_bytes=1 << 20)
_RUNS: Final = (
    ("sleep", "3"),
    ("sleep", "40"),
    ("train", "20", "1", "3"),
    ("train", "60", "1", "2"),
    ("exit", "3"),
)
_STATE: Final = (
    b'{"op":"state_get","key":"k"}',
    b'{"op":"state_put","key":"k","value":{"json":[1]}}',
)
_RECENT: Final = 30


class People:
    """Everybody does everything, with what anybody has made."""

    def __init__(self, world: World, seed: int, liar: str) -> None:
        """At the machine of a liar anything may fail."""
        self.done = 0
        self._world, self._liar = world, liar
        self._dice = random.Random(f"people/{seed}")
        self._caps: list[tuple[str, ReadCap]] = []
        self._tasks: list[tuple[str, TaskId]] = []

    async def run(self, name: str) -> None:
        """At one machine, without end."""
        WHO.set(self._world[name].peer)
        acts: tuple[Callable[[str, Node], Awaitable[None]], ...] = (
            *(self._put, self._read, self._stat, self._remove, self._name, self._state, self._look),
            *(self._submit, self._submit, self._cancel, self._log, self._elsewhere),
        )
        refusals = (Exception,) if name == self._liar else REFUSALS
        while True:
            await trio.sleep(self._dice.uniform(0.1, 0.6))
            if self._world[name].node is None:
                continue
            act = self._dice.choice(acts)
            with self._world.client(name) as node, trio.move_on_after(20), suppress(*refusals):
                await act(name, node)
                self.done += 1

    def _cap(self) -> ReadCap | None:
        return self._dice.choice(self._caps[-_RECENT:])[1] if self._caps else None

    def _own_task(self, name: str) -> TaskId | None:
        ours = [task for owner, task in self._tasks[-_RECENT:] if owner == name]
        return self._dice.choice(ours) if ours else None

    async def _put(self, name: str, node: Node) -> None:
        data = self._dice.randbytes(self._dice.choice((100, 30_000)))
        receipt = await node.storage.objects.put(_whole(data), name="x")
        self._caps.append((name, receipt.cap))

    async def _read(self, _name: str, node: Node) -> None:
        if cap := self._cap():
            async for _ in node.storage.objects.get(cap):
                pass

    async def _stat(self, _name: str, node: Node) -> None:
        if cap := self._cap():
            object_views.detail_json(await node.storage.objects.stat(cap.address))

    async def _remove(self, name: str, node: Node) -> None:
        ours = [cap for owner, cap in self._caps if owner == name]
        if ours:
            await node.storage.objects.remove(self._dice.choice(ours).address)

    async def _submit(self, name: str, node: Node) -> None:
        dice, cap = self._dice, self._cap()
        run, other = dice.choice(_RUNS), dice.choice(list(self._world.machines.values())).peer
        is_training, me = run[0] == "train", self._world[name].peer
        has_input = cap is not None and dice.random() < 0.3
        spec = TaskSpec(
            run=run,
            shape=_SHAPE,
            inputs=(("data", text_of_cap(cap)),) if cap and has_input else (),
            checkpoint=CheckpointSpec("checkpoint", every_ms=1000) if is_training else None,
            outputs=("result.json",) if is_training else (),
            effects=dice.choice(list(Repeatability)),
            avoid=(me,),
            require=() if other == me or dice.random() < 0.4 else (other,),
            retries=1,
        )
        self._tasks.append((name, await node.market.buyer.submit(spec)))

    async def _cancel(self, name: str, node: Node) -> None:
        if task := self._own_task(name):
            await node.market.buyer.cancel(task)

    async def _log(self, name: str, node: Node) -> None:
        if task := self._own_task(name):
            with trio.move_on_after(3):
                async for _ in node.market.buyer.logs(task, "stdout", follow=False):
                    pass

    async def _elsewhere(self, _name: str, node: Node) -> None:
        if self._tasks:
            _, task = self._dice.choice(self._tasks[-_RECENT:])
            await node.market.own_machines.elsewhere.find(task, cancel=self._dice.random() < 0.2)

    async def _name(self, _name: str, node: Node) -> None:
        other = self._dice.choice(list(self._world.machines.values()))
        await node.storage.names.of(other.peer).read("n")
        mine = node.storage.names.machine()
        old = await mine.read("n")
        before, fence = (old.sequence, old.fence) if old else (0, 0)
        await mine.write("n", b"v", expected=before, fence=fence)

    async def _state(self, name: str, _node: Node) -> None:
        executor = self._world[name].executor
        if jobs := [view.job for view in executor.jobs() if view.exit is None]:
            await executor.ask(JobId(self._dice.choice(jobs)), self._dice.choice(_STATE))

    async def _look(self, _name: str, node: Node) -> None:
        look(node)


def look(node: Node) -> None:
    """All that the API shows of a node."""
    said: list[object] = [node.face.status(), *node.face.peer_lines(), *node.face.people_lines()]
    for view in node.market.buyer.tasks():
        said += [task_views.line_of(view), task_views.detail_of(view)]
        said.append(task_views.explanation_of(node.market.buyer.explain(view.record.task)))
    entries = node.storage.objects.entries()
    said += [object_views.line_json(one) for one in entries]
    said += object_views.costs_of(entries, node.storage.objects.unfinished())
    msgspec.json.encode(said)


async def _whole(data: bytes) -> AsyncIterator[bytes]:
    yield data
