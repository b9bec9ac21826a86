"""Writers take a name over from each other by fence while machines and lines fail."""

import random

import pytest
import trio

from p2p.host.memory.network import LinkModel
from p2p.ids import PeerId
from p2p.membership.view import Liveness
from storage.errors import NameConflictError, StaleFenceError, TooFewPeersError
from storage.records.names.config import NamesConfig
from testnet.sim.history import History, Seen
from testnet.sim.seeded import simulated
from tests.names_lab import NamesLab, names_lab

NAME = "task/7/state"


async def _write_on(
    lab: NamesLab, machine: str, fence: int, history: History, stop: trio.Event
) -> None:
    """One attempt of a task: it counts up until it is stale or its machine dies."""
    if lab.nodes[machine].names is None:
        return
    expected, number = 0, 0
    with lab.client(machine) as names:
        while not stop.is_set():
            await trio.sleep(0.05)
            start_s, value = trio.current_time(), b"%s %d/%d" % (machine.encode(), fence, number)
            try:
                wrote = await names.write(NAME, value, expected=expected, fence=fence)
            except NameConflictError as conflict:
                expected, history.conflicts = conflict.sequence, history.conflicts + 1
            except StaleFenceError:
                history.stale += 1
                return
            except TooFewPeersError:
                continue  # unknown outcome: the same write again
            else:
                end_s = trio.current_time()
                history.seen.append(Seen("write", start_s, end_s, wrote.sequence, fence, value))
                expected, number = wrote.sequence, number + 1


async def _read_on(lab: NamesLab, machine: str, history: History, stop: trio.Event) -> None:
    while not stop.is_set():
        await trio.sleep(0.07)
        if lab.nodes[machine].names is None:
            continue
        with lab.client(machine) as names:
            start_s = trio.current_time()
            try:
                found = await names.read(NAME)
            except TooFewPeersError:
                continue
            sequence, fence, value = 0, 0, b""
            if found is not None:
                sequence, fence, value = found.sequence, found.fence, found.value
            end_s = trio.current_time()
            history.seen.append(Seen("read", start_s, end_s, sequence, fence, value))


async def _trouble(lab: NamesLab, rng: random.Random, stop: trio.Event) -> None:
    """Crashes, restarts and partitions; never more than a few at a time."""
    while not stop.is_set():
        await trio.sleep(rng.uniform(0.5, 3))
        machine = rng.choice(sorted(lab.nodes))
        match rng.randrange(3):
            case 0 if lab.nodes[machine].names is not None:
                lab.crash(machine)
                if rng.random() < 0.5:
                    lab.truth.set(machine, Liveness.DEAD)
                await trio.sleep(rng.uniform(0.1, 4))
                await lab.start(machine)
            case 1:
                names = sorted(lab.nodes)
                rng.shuffle(names)
                half = rng.randrange(1, len(names))
                peers = [PeerId(name) for name in names]
                lab.network.cut(peers[:half], peers[half:])
                await trio.sleep(rng.uniform(0.5, 12))
                lab.network.heal()
            case _:
                peers = [PeerId(name) for name in lab.nodes]
                lab.network.break_connection(*rng.sample(peers, 2))


@pytest.mark.parametrize("count", [3, 5, 9])
@pytest.mark.parametrize("seed", range(2))
@simulated
async def test_writers_that_take_over_by_fence_see_one_history(count: int, seed: int) -> None:
    rng, history, stop = random.Random(seed), History(), trio.Event()
    model = LinkModel(jitter_s=0.03, cast_loss=0.02, break_rate=0.01, detect_s=2.0)
    config = NamesConfig(call_timeout_s=1.0, down_after_s=3600.0)
    machines = [f"m{number}" for number in range(count)]
    async with names_lab(machines, model, seed=seed, config=config) as lab:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_trouble, lab, rng, stop)
            for machine in machines[:3]:
                nursery.start_soon(_read_on, lab, machine, history, stop)
            for fence in range(1, 9):
                machine = rng.choice(machines)
                nursery.start_soon(_write_on, lab, machine, fence, history, stop)
                await trio.sleep(rng.uniform(1, 5))
            stop.set()
        assert history.violations() == []
        assert sum(one.kind == "write" for one in history.seen) > 50
        assert history.stale > 0


@simulated
async def test_two_writers_of_one_fence_never_both_get_a_sequence() -> None:
    history, stop = History(), trio.Event()
    async with names_lab(["m0", "m1", "m2"], LinkModel(jitter_s=0.03)) as lab:
        async with trio.open_nursery() as nursery:
            for machine in lab.nodes:
                nursery.start_soon(_write_on, lab, machine, 1, history, stop)
                nursery.start_soon(_read_on, lab, machine, history, stop)
            await trio.sleep(20)
            stop.set()
        assert history.conflicts > 0
        assert len(history.seen) > 50
        for one in history.seen:
            assert one.fence in (0, 1)
