"""Whole nodes under faults from one seed: what was promised must hold, whatever happened.

    start -> work and one fault episode after another -> calm (last fifth) -> everything is checked

The faults stay within what is promised: at most `down_max` machines are away or cut off at a time.
A seed also decides which half of the faults its run has; a failure prints all of it.
`python -m testnet.sim.chaos --nodes 20 --seconds 600 --seeds 100` runs many.
"""

import argparse
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Final

import trio

from p2p.host.memory.network import LinkModel
from testnet.sim.chaos.faults import Faults
from testnet.sim.chaos.options import COUNTERS, Options, Outcome, missed
from testnet.sim.chaos.watch import Onlooker
from testnet.sim.chaos.work import Work
from testnet.sim.seeded import collect_rarely, run_seeded
from testnet.sim.world import World

CALM_SHARE: Final = 0.2
STEP_S: Final = 0.01
"""As long as a frame takes: finer steps cost more and order nothing that the dice do not."""
SETTINGS: Final = {
    "node.profile": "server",
    # Otherwise as in production: nothing but repair would wait longer than a run lasts.
    "timers.down_after_s": 30.0,
    "timers.orphan_grace_s": 20.0,
    # Adverts are most of what idle nodes say; they are as many as changes, with rare ones between.
    "timers.advert_every_s": 60.0,
    "timers.advert_ttl_s": 200.0,
    "storage.quota_gib": 1.0,
    "storage.min_free_gib": 0.0,
}
CALM_NETWORK: Final = LinkModel(delay_s=0.005, jitter_s=0.005, detect_s=5.0)


def run_chaos(seed: int, *, nodes: int, seconds: float) -> Outcome:
    """Run one seed to its end; what a node raises is a bug and is raised here."""
    outcome = Outcome(Options.of(seed, nodes, seconds))
    try:
        run_seeded(seed, partial(_live, outcome), step_s=STEP_S)
    except BaseException as error:
        error.add_note(str(outcome.options))
        raise
    return outcome


async def _live(outcome: Outcome) -> None:
    options = outcome.options
    names = [f"m{number:02}" for number in range(options.nodes)]
    world = World(options.seed, names, model=CALM_NETWORK, settings=SETTINGS)
    watch = Onlooker(world, outcome)
    work = Work(world, outcome)
    faults = Faults(world, outcome, CALM_NETWORK, work)
    async with world.running(start=False), trio.open_nursery() as nursery:
        world.on_start = partial(watch.follow, nursery, work)
        world.on_end = watch.count
        for name in names:
            await world.start(name)
        nursery.start_soon(watch.look_at_rooms)
        work.begin(nursery)
        await trio.sleep(min(20.0, options.seconds / 10))
        with trio.move_on_at(options.seconds * (1 - CALM_SHARE)):
            await faults.go_on()
        await faults.end_all()
        work.is_over = True
        await trio.sleep_until(options.seconds)
        await work.check()
        for name in names:
            watch.count(name, world[name].up)
        nursery.cancel_scope.cancel()
    outcome.trace_hash = watch.digest()


def main(arguments: Sequence[str]) -> int:
    """Run many seeds; 0 when nothing was violated and every counter was reached."""
    parser = argparse.ArgumentParser(prog="python -m testnet.sim.chaos", description=__doc__)
    parser.add_argument("--nodes", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    chosen = parser.parse_args(arguments)
    seeds = range(chosen.first, chosen.first + chosen.seeds)
    began = time.monotonic()
    outcomes = run_many(
        [(seed, chosen.nodes, chosen.seconds) for seed in seeds], chosen.processes, tell=True
    )
    took = time.monotonic() - began
    reached = sum((outcome.reached for outcome in outcomes), Counter[str]())
    bad, never = sum(bool(o.violations) for o in outcomes), missed(chosen.nodes, reached)
    print(f"{len(seeds)} seeds of {chosen.nodes} nodes x {chosen.seconds:.0f} s in {took:.0f} s")
    print(", ".join(f"{name} {count}" for name, count in sorted(reached.items())))
    print(", ".join(f"{one} {reached[one]}" for one in COUNTERS))
    if never:
        print(f"never reached: {', '.join(never)}")
    print(f"{bad} seeds with violations")
    return 1 if bad or never else 0


def run_many(
    runs: Sequence[tuple[int, int, float]], processes: int, *, tell: bool = False
) -> list[Outcome]:
    """Run each (seed, nodes, seconds) in a process; what a run raises is a violation of it."""
    outcomes = []
    apart = get_context("spawn")
    with ProcessPoolExecutor(processes, apart, initializer=collect_rarely) as pool:
        futures = [pool.submit(run_chaos, seed, nodes=n, seconds=s) for seed, n, s in runs]
        for run, future in zip(runs, futures, strict=True):
            error = future.exception()
            if error is None:
                outcome = future.result()
            else:
                words = "".join(traceback.format_exception(error))
                outcome = Outcome(Options.of(*run), [words])
            outcomes.append(outcome)
            if tell:
                print(f"seed {outcome.options.seed} {outcome.trace_hash}", flush=True)
                for violation in outcome.violations:
                    print(f"  {outcome.options}: {violation}", flush=True)
    return outcomes
