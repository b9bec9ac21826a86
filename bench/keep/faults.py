"""What happens to the machines: one kind after another, and a submitter that leaves meanwhile."""

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.keep.machine import LEASE_GRACE_S, Machine, pause

KINDS: Final = ("kill", "power", "freeze", "clock", "full", "cut")
SLOT_S: Final = 40.0
"""Six kinds and rest within five minutes."""
START_S: Final = 45.0
"""A node that is not ready by then counts as one that does not start; two cores carry seven."""
AWAY_S: Final = 10 * LEASE_GRACE_S
DAY_S: Final = 86_400.0
CLOCKS_S: Final = (40 * DAY_S, -1 * DAY_S)


@dataclass(slots=True)
class Faults:
    """Chooses victims and does it to them until `stop`; counts what was done by kind."""

    machines: list[Machine]
    replace: Callable[[Machine], Machine]
    """Makes a new machine whose owner was that of one that is gone."""
    stop: threading.Event
    rng: random.Random
    note: Callable[[str], None]
    """Told what happens, as it happens."""
    scale: float = 1.0
    """Below 1 in runs of less than five minutes: everything lasts shorter."""
    counts: dict[str, int] = field(default_factory=dict)
    _departures: int = 0

    def threads(self) -> list[threading.Thread]:
        """One for the kinds, one for who leaves; started by the caller."""
        return [threading.Thread(target=self._kinds), threading.Thread(target=self._departing)]

    def _kinds(self) -> None:
        order: list[str] = []
        while not self.stop.wait(SLOT_S * self.scale / 3):
            if not order:
                order = self.rng.sample(KINDS, len(KINDS))
            getattr(self, f"_{self._count(order.pop())}")()

    def _departing(self) -> None:
        while not self.stop.wait(SLOT_S * self.scale):
            self._departures += 1
            machine = self._victims(1)[0]
            machine.power_off()
            if self._departures % 3 == 2:  # the second, so that five minutes see it
                self._count("gone")
                pause(AWAY_S * self.scale / 2)
                self.machines[self.machines.index(machine)] = self.replace(machine)
                continue
            self._count("away")
            pause(AWAY_S * self.scale)
            machine.power_on()
            self._back([machine])

    # -- the kinds

    def _kill(self) -> None:
        machine = self._victims(1)[0]
        machine.kill()
        self._last(5.0)
        self._back([machine])

    def _power(self) -> None:
        machine = self._victims(1)[0]
        machine.power_off()
        self._last(8.0)
        machine.power_on()
        self._back([machine])

    def _freeze(self) -> None:
        machine = self._victims(1)[0]
        machine.freeze()
        self._last(self.rng.choice([4.0, 20.0]))
        machine.thaw()
        machine.is_out = False

    def _clock(self) -> None:
        machine = self._victims(1)[0]
        machine.set_clock(self.rng.choice(CLOCKS_S))
        self._last(20.0)
        machine.set_clock(0.0)
        machine.is_out = False

    def _full(self) -> None:
        machine = self._victims(1)[0]
        machine.is_out = False  # people go on using it
        machine.fill_disk()
        self._last(15.0)
        machine.empty_disk()

    def _cut(self) -> None:
        lonely = self._victims(2)
        others = [machine for machine in self.machines if machine not in lonely]
        for machine in lonely:
            machine.is_out = False  # both sides go on
            machine.cut_from(others, off=True)
        self._last(20.0)
        for machine in lonely:
            machine.cut_from(others, off=False)

    # -- inside

    def _count(self, kind: str) -> str:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.note(kind)
        return kind

    def _victims(self, count: int) -> list[Machine]:
        there = [machine for machine in self.machines if not machine.is_out]
        chosen = self.rng.sample(there[1:], count)  # the first one enrols who replaces the gone
        for machine in chosen:
            machine.is_out = True
        self.note(", ".join(machine.home.name for machine in chosen))
        return chosen

    def _last(self, seconds: float) -> None:
        pause(seconds * self.scale)

    def _back(self, machines: Sequence[Machine]) -> None:
        for machine in machines:
            machine.start(START_S)
            machine.is_out = False
