"""One fault episode after another, each undone before the next begins."""

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import trio

from p2p.host.memory.network import LinkModel
from testnet.sim.chaos.options import Outcome
from testnet.sim.chaos.work import LATE_S, Work
from testnet.sim.world import World

ROUGH_NETWORK = LinkModel(
    delay_s=0.02, jitter_s=0.2, cast_loss=0.02, break_rate=0.0005, detect_s=5.0
)


class Faults:
    """Chooses what happens by dice of its own."""

    def __init__(self, world: World, outcome: Outcome, calm: LinkModel, work: Work) -> None:
        self._world, self._outcome, self._calm, self._work = world, outcome, calm, work
        self._options = outcome.options
        self._dice = random.Random(f"faults/{self._options.seed}/{self._options.nodes}")  # noqa: S311
        self._kinds: Mapping[str, Callable[[], Awaitable[None]]] = {
            "kill": self._kill,
            "power_cut": self._power_cut,
            "partition": self._partition,
            "pause": self._pause,
            "clock_step": self._clock_step,
            "breaks": self._breaks,
            "loss": self._loss,
            "twice": self._twice,
            "full_disk": self._full_disk,
            "disk_loss": self._disk_loss,
            "rot": self._work.objects.rot,
        }

    async def go_on(self) -> None:
        """Episodes until cancelled; `end_all` undoes what was under way."""
        while True:
            fault = self._dice.choice(self._options.faults)
            self._outcome.reached[f"fault {fault}"] += 1
            await self._kinds[fault]()
            await trio.sleep(self._dice.uniform(5, 30))

    async def end_all(self) -> None:
        """Everything heals: all machines run, connected, lent and in time."""
        self._world.heal()
        self._world.network.model = self._calm
        for name in list(self._world.machines):
            self._world.free_disk(name)
            if self._world[name].node is None:
                await self._world.start(name)
            await self._world[name].up.market.seller.resume()

    def _victims(self) -> list[str]:
        """Some machines; half of the time such as have something to do."""
        names = sorted(self._world.machines)
        busy = [name for name in names if self._world.is_busy(name)]
        if busy and self._dice.random() < 0.5:
            names = busy
        count = self._dice.randrange(1, self._options.down_max + 1)
        return sorted(self._dice.sample(names, min(count, len(names))))

    async def _kill(self) -> None:
        victims = self._victims()
        for name in victims:
            await self._world.kill(name)
        await trio.sleep(self._dice.uniform(0.5, 20))
        for name in victims:
            await self._world.start(name)

    async def _power_cut(self) -> None:
        victims = self._victims()
        for name in victims:
            await self._world.power_cut(name)
        await trio.sleep(self._dice.uniform(5, 70))
        for name in victims:
            await self._world.start(name)

    async def _partition(self) -> None:
        victims = self._victims()
        self._world.cut(victims, [name for name in self._world.machines if name not in victims])
        await trio.sleep(self._dice.uniform(5, 60))
        self._world.heal()

    async def _pause(self) -> None:
        name = self._victims()[0]
        await self._world[name].up.market.seller.pause(grace_s=3.0)
        await trio.sleep(self._dice.uniform(5, 40))
        await self._world[name].up.market.seller.resume()

    async def _clock_step(self) -> None:
        name = self._dice.choice(sorted(self._world.machines))
        step_ms = self._dice.randrange(-100_000, 100_000)
        self._world[name].wall.step(step_ms)
        try:
            await trio.sleep(self._dice.uniform(10, 40))
        finally:
            self._world[name].wall.step(-step_ms)

    async def _breaks(self) -> None:
        for _ in range(self._dice.randrange(1, 10)):
            one, other = self._dice.sample(sorted(self._world.machines), 2)
            self._world.network.break_connection(self._world[one].peer, self._world[other].peer)
            await trio.sleep(self._dice.uniform(0.1, 3))

    async def _loss(self) -> None:
        self._world.network.model = ROUGH_NETWORK
        await trio.sleep(self._dice.uniform(10, 60))
        self._world.network.model = self._calm

    async def _twice(self) -> None:
        self._world.network.model = replace(self._calm, cast_twice=0.1)
        await trio.sleep(self._dice.uniform(10, 60))
        self._world.network.model = self._calm

    async def _full_disk(self) -> None:
        name = self._dice.choice(sorted(self._world.machines))
        self._world.fill_disk(name)
        await trio.sleep(self._dice.uniform(5, 60))
        self._world.free_disk(name)

    async def _disk_loss(self) -> None:
        """Within what is promised: nobody waits for the machine's own tasks, and nothing else
        happens until all its shards have been rebuilt."""
        could = [name for name in sorted(self._world.machines) if self._work.may_lose_disk(name)]
        if not could:
            return
        name = self._dice.choice(could)
        self._work.lose_disk(name)
        await self._world.power_cut(name)
        self._world.lose_disk(name)
        await trio.sleep(self._dice.uniform(5, 60))
        await self._world.start(name)
        await self._work.objects.until_whole(LATE_S)
