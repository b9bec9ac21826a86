"""A folder of 10,000 files: sent, sent again, and sent again when one of them has changed."""

import os
import random
import statistics
import time
from pathlib import Path
from typing import Final

from bench.env.pool import pool_of, sent_at_rest, typed
from bench.env.sizes import Sizes
from swarmnode.demo.launcher import LocalSwarm

NODES: Final = 3
FOLDERS: Final = 100
FILE_BYTES: Final = 10 * 1024
_RUN: Final = ("run", "--detach", "--", "true")
_LONG_AGO_S: Final = 3600.0


def measure(root: Path, sizes: Sizes, rounds: int) -> dict[str, object]:
    """See bench.env."""
    project, dice = root / "project", random.Random(1)  # noqa: S311 - some bytes
    _fill(project, dice, sizes.files)
    with pool_of(NODES) as swarm:
        return _figures(swarm, project, dice, rounds)


def _figures(
    swarm: LocalSwarm, project: Path, dice: random.Random, rounds: int
) -> dict[str, object]:
    node = swarm.nodes[0]
    typed(node, project, *_RUN)
    again, changed, sent = [], [], []
    for number in range(rounds):
        sent_at_rest(swarm)
        again.append(typed(node, project, *_RUN))
        _file(project, number * 37).write_bytes(dice.randbytes(FILE_BYTES))
        before = sent_at_rest(swarm)
        changed.append(typed(node, project, *_RUN))
        sent.append(sent_at_rest(swarm) - before)
    return {
        "resubmit_10000_s": round(statistics.median(again), 3),
        "changed_10k_in_100mb_s": round(statistics.median(changed), 3),
        "changed_10k_in_100mb_sent_mb": round(statistics.median(sent) / 1e6, 3),
    }


def _fill(project: Path, dice: random.Random, files: int) -> None:
    """Files that were written an hour ago, as nearly all files of a project were."""
    long_ago_s = time.time() - _LONG_AGO_S
    for number in range(files):
        file = _file(project, number)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(dice.randbytes(FILE_BYTES))
        os.utime(file, (long_ago_s, long_ago_s))
    (project / "pyproject.toml").write_text("[project]\nname = 'bench'\n")


def _file(project: Path, number: int) -> Path:
    return project / f"part{number % FOLDERS:02}" / f"sample_{number:05}.bin"
