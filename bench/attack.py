"""What attacks cost: one victim, one honest peer and the attackers, each a process of its own.

newcomers_silent_pct, newcomers_silent_neighbours_pct
    Fresh honest peers (20 a round, each with one try) that get in while a thousand sockets say
    nothing, all from one /24; all from the newcomers' own address. Sockets are renewed every 3 s.
<flood>_p99_ms (and _idle_p99_ms, _bound_ms)
    A call in class 0 that begins every 10 ms, however long the last one takes: 99th percentile
    under the flood, before it, and the most it may be: max(2 x idle, idle + 50 ms).
memory_mb
    The most the victim held resident under any flood; 512 MiB (537 MB) are allowed.
tasks_left, fds_left, pid_changed
    Tasks and files above the count before, once a flood has ended; the worst of all floods.
invalid_casts_per_s, invalid_items_per_s
    Frames of 200 bytes refused inside one established link, per second of the victim's processor
    time (its sealing, framing and decoding included): casts of an unknown number, gossip of
    another network. None of them had a signature checked.
frozen_*
    Attackers stopped by SIGSTOP with answers of 8 MiB on their way; dead after 3 s here.

Medians over the rounds, except for the worst of memory, tasks and files.
"""

import statistics
from typing import Final

import trio

from bench.attack_figures import Verdict, frozen, invalid_per_cpu_s, newcomers_under, under
from testnet.attack.attacker import FLOODS
from testnet.attack.watch import watching

FLOOD_S: Final = 3.0
NEWCOMERS: Final = 20
DEAD_AFTER_S: Final = 3.0


def measure(rounds: int) -> dict[str, object]:
    """All figures; about three minutes a round."""
    return trio.run(_measure, rounds)


async def _measure(rounds: int) -> dict[str, object]:
    verdicts: dict[str, list[Verdict]] = {flood: [] for flood in (*FLOODS, "frozen")}
    came: dict[str, list[int]] = {"silent": [], "silent_neighbours": []}
    invalid: dict[str, list[float]] = {"casts": [], "junk": []}
    pid_changed = False
    for _ in range(rounds):
        async with watching() as watch:
            for flood in FLOODS:
                verdicts[flood].append(await under(watch, flood, FLOOD_S))
            for flood, counts in came.items():
                counts.append(await newcomers_under(watch, flood, NEWCOMERS))
            for flood, rates in invalid.items():
                rates.append(await invalid_per_cpu_s(watch, flood, FLOOD_S))
            pid_changed |= watch.victim.process.returncode is not None
        async with watching("--dead-after", str(DEAD_AFTER_S)) as watch:
            verdicts["frozen"].append(await frozen(watch, DEAD_AFTER_S))
    figures: dict[str, object] = {
        f"newcomers_{flood}_pct": round(100 * statistics.median(counts) / NEWCOMERS, 1)
        for flood, counts in came.items()
    }
    figures["invalid_casts_per_s"] = round(statistics.median(invalid["casts"]))
    figures["invalid_items_per_s"] = round(statistics.median(invalid["junk"]))
    every = [verdict for of_flood in verdicts.values() for verdict in of_flood]
    figures["memory_mb"] = round(max(verdict.memory_mb for verdict in every))
    figures["tasks_left"] = max(verdict.tasks_left for verdict in every)
    figures["fds_left"] = max(verdict.fds_left for verdict in every)
    figures["calls_failed"] = sum(verdict.failed for verdict in every)
    figures["pid_changed"] = pid_changed
    for flood, of_flood in verdicts.items():
        figures |= _latencies(flood, of_flood)
    return figures


def _latencies(flood: str, verdicts: list[Verdict]) -> dict[str, object]:
    return {
        f"{flood}_p99_ms": round(statistics.median(v.p99_ms for v in verdicts), 1),
        f"{flood}_idle_p99_ms": round(statistics.median(v.idle_p99_ms for v in verdicts), 1),
        f"{flood}_bound_ms": round(statistics.median(v.p99_ms_max for v in verdicts), 1),
    }
