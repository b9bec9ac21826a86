"""What stands between a command that is typed and its program that runs.

resubmit_10000_s
    `swarm run --detach` in a folder of 10,000 files (100 MB) of which nothing has changed since it
    was sent: from the start of the command until the task is submitted and the command has ended.
changed_10k_in_100mb_s
    The same after one file of 10 KiB of it was written anew.
changed_10k_in_100mb_sent_mb
    What all three nodes sent to each other for that, by their own counters, from before the command
    until they have come to rest: all copies, headers, and what else they had to say meanwhile.
second_start_s
    `swarm run -- python ...` in a project with numpy and scikit-learn whose environment the machine
    has: from the start of the command until the program's first line.
import_s, import_vs_local
    `import numpy, sklearn` in the task, and that by the same files without a sandbox, both warm.
build_s, environment_mb
    The first run with everything that it took, and the size of what was built.

Medians over the rounds. Folders are sent in a pool of three nodes. Packages come from where this
machine's settings of pip say; without a local index that has them their figures cannot be had.
"""

import shutil
import tempfile
from pathlib import Path

from bench.env import folders, packages
from bench.env.pool import pool_of_three


def measure(rounds: int) -> dict[str, object]:
    """All figures; about three minutes with five rounds."""
    root = Path(tempfile.mkdtemp(prefix="swarm-bench-"))
    try:
        with pool_of_three() as swarm:
            figures = folders.measure(swarm, root, rounds)
        return {**figures, **packages.measure(root, rounds)}
    finally:
        shutil.rmtree(root)
