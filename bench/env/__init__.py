"""What stands between a command that is typed and its program that runs, in a pool of three nodes.

resubmit_10000_s
    `swarm run --detach` in a folder of 10,000 files (100 MB) of which nothing has changed since it
    was sent: from the start of the command until the task is submitted and the command has ended.
changed_10k_in_100mb_s
    The same after one file of 10 KiB of it was written anew.
changed_10k_in_100mb_sent_mb
    What all three nodes sent to each other for that, by their own counters, from before the command
    until they have come to rest: all copies, headers, and what else they had to say meanwhile.

Medians over the rounds. Each family of figures is a module with `measure(swarm, root, rounds)`.
"""

import shutil
import tempfile
from pathlib import Path

from bench.env import folders
from bench.env.pool import pool_of_three


def measure(rounds: int) -> dict[str, object]:
    """All figures; about a minute with five rounds."""
    root = Path(tempfile.mkdtemp(prefix="swarm-bench-"))
    try:
        with pool_of_three() as swarm:
            return {**folders.measure(swarm, root, rounds)}
    finally:
        shutil.rmtree(root)
