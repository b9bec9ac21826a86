"""Whole nodes under faults: a few seeds of every size of pool; CONTRIBUTING.md has the full set."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from testnet.sim.chaos.options import COUNTERS, Outcome
from testnet.sim.chaos.run import run_many

RUNS = [
    *((seed, 1, 300.0) for seed in range(3)),
    *((seed, 2, 300.0) for seed in range(6)),
    *((seed, 3, 300.0) for seed in range(6)),
    *((seed, 9, 200.0) for seed in range(2)),
    *((seed, 20, 100.0) for seed in range(2)),
]
"""(seed, nodes, virtual seconds)"""

ONE = """
from testnet.sim.chaos.run import run_chaos
print(run_chaos(5, nodes=9, seconds=60).trace_hash)
"""


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    """All runs, the long ones first, on two cores."""
    return run_many(sorted(RUNS, key=lambda run: -run[1]), 2)


@pytest.mark.parametrize("nodes", [1, 2, 3, 9, 20])
def test_what_was_promised_holds_whatever_happened(outcomes: list[Outcome], nodes: int) -> None:
    mine = [outcome for outcome in outcomes if outcome.options.nodes == nodes]
    assert mine
    for outcome in mine:
        assert not outcome.violations, f"{outcome.options} {outcome.trace_hash}"


def test_the_runs_reached_what_they_are_there_to_try(outcomes: list[Outcome]) -> None:
    reached = sum((outcome.reached for outcome in outcomes), Counter[str]())
    assert [one for one in COUNTERS if not reached[one]] == [], dict(reached)


def test_one_seed_gives_one_trace_of_whole_swarms_whatever_the_hash_seed() -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", ONE],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.getcwd()},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in ("1", "2")
    ]
    one, other = (run.communicate(timeout=120)[0] for run in runs)
    assert len(one.strip()) == 32
    assert one == other
