"""The second start of a program whose environment is large."""

import os
import shutil
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.env import wheels
from bench.env.pool import all_cores, pool_of, type_at
from bench.env.sizes import Sizes
from swarmnode.demo.launcher import LocalNode

_SAY: Final = "import time; print(time.time(), flush=True)"
_DISK_GIB: Final = 64
"""A build may write several times what its packages have."""


def measure(root: Path, sizes: Sizes, rounds: int) -> dict[str, object]:
    """See bench.env. Takes about five times the size of the disk."""
    found = wheels.lay_out(root)
    project = wheels.project_with(root, "bulk", sizes.warm_mb)
    with pool_of(1, {**found, "SWARM_COMPUTE__DISK_GIB": str(_DISK_GIB)}) as swarm:
        (node,), environ = swarm.nodes, {**os.environ, **found}
        built_s = _first_line_s(node, project, environ)
        shutil.rmtree(root / "wheels")
        starts = [_first_line_s(node, project, environ) for _ in range(rounds + 1)][1:]
    return {
        "second_start_s": round(statistics.median(starts), 3),
        "warm_build_s": round(built_s, 1),
        "warm_mb": sizes.warm_mb,
    }


def _first_line_s(node: LocalNode, project: Path, environ: Mapping[str, str]) -> float:
    began_s = time.time()
    words = ("run", *all_cores(node), "--", "python", "-c", _SAY)
    return float(type_at(node, project, *words, environ=environ)) - began_s
