"""Whole nodes beside one whose words hold extremes: they run on, answer, and start again."""

import random
import time
from collections.abc import Sequence

import pytest
import trio

from swarmnode.executor.fake.programs import Process, Program, Run
from testnet.sim.seeded import run_seeded
from testnet.sim.world import SimMachine, World
from tests.fuzz.liar import WHO, Liar, told_by
from tests.fuzz.people import People, look

LIAR = "m"
HONEST = ("a", "b", "c", "d")
SHARE = 0.3
"""Of what it says that is a lie; a node that cannot start lies to nobody."""
HELD_S_MAX = 0.5
"""Nobody may hold a node's loop for longer, in processor time: others' load is no fault of ours."""


class LyingWorld(World):
    """One of its nodes may end: what it wrote down is as strange as what it says."""

    def _machine(self, name: str, lab: str) -> SimMachine:
        made = super()._machine(name, lab)
        programs = made.executor._programs
        made.executor._programs = {one: _guarded(program) for one, program in programs.items()}
        return made

    async def _run(self, machine: SimMachine, task_status: trio.TaskStatus[None]) -> None:
        WHO.set(machine.peer)
        try:
            await super()._run(machine, task_status)
        except Exception:
            if machine.name != LIAR:
                raise


def _guarded(program: Program) -> Program:
    """A program that fails is no fault of a node."""

    def run(process: Process, arguments: Sequence[str]) -> Run:
        try:
            return (yield from program(process, arguments))
        except Exception:
            return 1

    return run


class Watch(trio.abc.Instrument):
    """Who held the loop for longest, but for the test itself."""

    def __init__(self) -> None:
        self.longest = (0.0, "", "")
        self._began_s = 0.0

    def before_task_step(self, _task: trio.lowlevel.Task) -> None:
        self._began_s = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        took = (time.thread_time() - self._began_s, task.name, task.context.get(WHO, ""))
        if "<lambda>" not in task.name:
            self.longest = max(self.longest, took)


async def _lied_to(
    world: LyingWorld, liar: Liar, watch: Watch, seconds: float, away_s: float
) -> int:
    trio.lowlevel.add_instrument(watch)
    people, dice = People(world, world.seed, LIAR), random.Random(f"ends/{world.seed}")
    async with world.running(), trio.open_nursery() as nursery:
        liar.share = SHARE
        for name in world.machines:
            nursery.start_soon(people.run, name)
        end_s = trio.current_time() + seconds
        while trio.current_time() < end_s:
            await trio.sleep(5)
            await _one_ends(world, liar, dice, away_s)
        liar.share = 0.0
        for name in HONEST:
            await world.kill(name)
        for name in HONEST:
            await world.start(name)
        await trio.sleep(5)
        for name in HONEST:
            look(world[name].up)
            for other in HONEST:
                assert name == other or await world[name].up.face.ping(world[other].peer, 1)
        nursery.cancel_scope.cancel()
    return people.done


async def _one_ends(world: LyingWorld, liar: Liar, dice: random.Random, away_s: float) -> None:
    """The liar goes away, so that others act for its tasks; or an honest node starts again."""
    if world[LIAR].node is None:
        world.lose_disk(LIAR)
        liar.share = 0.0
        await world.start(LIAR)
        liar.share = SHARE
    elif dice.random() < 0.35:
        await (world.kill if dice.random() < 0.5 else world.power_cut)(LIAR)
        await trio.sleep(away_s)
    elif dice.random() < 0.5:
        name = dice.choice(HONEST)
        await world.kill(name)
        await trio.sleep(away_s / 5)
        await world.start(name)


def lie(seed: int, seconds: float, away_s: float) -> tuple[Liar, int]:
    """Run so long on virtual time; the liar, and how much people could do."""
    world, watch = LyingWorld(seed, (*HONEST, LIAR)), Watch()
    liar = Liar(world[LIAR].peer, seed, tuple(one.peer for one in world.machines.values()))
    with told_by(liar):
        try:
            done = run_seeded(seed, lambda: _lied_to(world, liar, watch, seconds, away_s))
        except BaseException as error:
            error.add_note("said last: " + "\n".join(liar.last))
            raise
    assert watch.longest[0] < HELD_S_MAX, watch.longest
    return liar, done


def test_no_extreme_in_what_a_member_says_ends_or_holds_a_node() -> None:
    liar, done = lie(1, 20, 4)
    assert len({kind for kind, _, _ in liar.said}) > 40
    assert done > 50


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 30))
def test_no_extreme_that_a_member_says_for_long_ends_or_holds_a_node(seed: int) -> None:
    liar, _ = lie(seed, 150, 90)
    assert sum(liar.said.values()) > 500
