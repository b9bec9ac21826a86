"""What stands between a command that is typed and its program that runs.

`--only folder,import,...` measures some parts, `--with files=100,...` in other sizes (sizes.py).

folder: one of 10,000 files (100 MB), in a pool of three nodes on loopback
    resubmit_10000_s
        `swarm run --detach` where nothing has changed since it was sent: from the start of the
        command until the task is submitted and the command has ended.
    changed_10k_in_100mb_s
        The same after one file of 10 KiB of it was written anew.
    changed_10k_in_100mb_sent_mb
        What all three nodes sent to each other for that, by their own counters, from before the
        command until they have come to rest: all copies, headers, and what else they had to say.
warm: an environment of 2 GB in 20,000 files, on one machine
    second_start_s
        `swarm run -- python ...` where the machine has it: from the start of the command until the
        program's first line. warm_build_s, warm_mb: the first run with all that it took.
import: a project with numpy and scikit-learn, on one machine
    import_s, import_vs_local
        `import numpy, sklearn` in the task, and that by the same files without a
        sandbox, in turns, both warm; import_cpu_vs_local by processor seconds, which other
        load does not change. build_s, environment_mb: what was built.
spread: an environment of 256 MB on its way to machines that lack it, over emulated lines
    spread_one_s, spread_all_s, spread_8_vs_1
        From the submission of a task until it has run: on one machine, the slowest of as many as
        there are machines, then of eight machines at once. Another built it and put it into the
        pool before, which is not counted; the lines are slow from then on.
cold
    cold_vs_bwrap, cold_ms, bwrap_ms
        See bench.containment.start.
leaks
    leaked, leaked_<what>, leaks_jobs, leaks_kills
        See bench.containment.leaks.

Medians over the rounds. Packages of `import` come from where this machine's settings of pip say;
without an index that has them they cannot be had. Those of `warm` and `spread` are made here.
`spread` needs root and /dev/net/tun.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from bench.containment import leaks, start
from bench.env import folders, packages, spread, warm
from bench.env.sizes import Sizes

Part: TypeAlias = Callable[[Path, Sizes, int], dict[str, object]]
_SEED: Final = 1
PARTS: Final[Mapping[str, Part]] = {
    "folder": folders.measure,
    "warm": warm.measure,
    "import": packages.measure,
    "spread": spread.measure,
    "cold": lambda _root, sizes, rounds: start.measure(max(sizes.starts, rounds)),
    "leaks": lambda _root, sizes, _rounds: leaks.measure(sizes.jobs, _SEED),
}


def measure(rounds: int, only: str = "", sizes: str = "") -> dict[str, object]:
    """All figures, or those of some parts. Raises ValueError for a part that there is not."""
    chosen, wanted = only.split(",") if only else list(PARTS), Sizes.read(sizes)
    if unknown := [name for name in chosen if name not in PARTS]:
        raise ValueError(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    figures: dict[str, object] = {}
    for name in chosen:
        root = Path(tempfile.mkdtemp(prefix="swarm-bench-"))
        try:
            figures |= PARTS[name](root, wanted, rounds)
        finally:
            shutil.rmtree(root)
    return figures
