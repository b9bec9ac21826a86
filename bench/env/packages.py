"""A project whose packages are an environment: its imports, in a task and without a sandbox."""

import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench.env.pool import all_cores, pool_of, type_at
from bench.env.sizes import Sizes
from swarmnode.demo.launcher import LocalNode

_IMPORT: Final = """\
import time
began, clock, used = time.time(), time.perf_counter(), time.process_time()
import numpy, sklearn
print(began, time.perf_counter() - clock, time.process_time() - used)
"""
_MANY: Final = 3
"""Times the rounds: an import takes a second, and half of that is chance."""


class Imported(msgspec.Struct, frozen=True):
    """One run of the program."""

    began_s: float
    """When its first line ran, by the machine's clock."""
    wall_s: float
    cpu_s: float


def measure(root: Path, _sizes: Sizes, rounds: int) -> dict[str, object]:
    """See bench.env."""
    project = root / "project"
    project.mkdir()
    (project / "requirements.txt").write_text("numpy\nscikit-learn\n")
    (project / "train.py").write_text(_IMPORT)
    with pool_of(1) as swarm:
        (node,) = swarm.nodes
        began_s = time.time()
        built_s = _in_a_task(node, project).began_s - began_s
        (tree,) = node.home.glob("**/environments/trees/*")
        pairs = [
            (_in_a_task(node, project), _locally(tree, project)) for _ in range(_MANY * rounds + 1)
        ][1:]  # from the second on the files are in memory
        files = (path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
        size = sum(path.stat().st_size for path in files)
    tasks, local = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return {
        "import_s": round(_wall_s(tasks), 3),
        "import_local_s": round(_wall_s(local), 3),
        "import_vs_local": round(_wall_s(tasks) / _wall_s(local), 3),
        "import_cpu_vs_local": round(_cpu_s(tasks) / _cpu_s(local), 3),
        "build_s": round(built_s, 1),
        "environment_mb": round(size / 1e6),
    }


def _wall_s(runs: Sequence[Imported]) -> float:
    return statistics.median(run.wall_s for run in runs)


def _cpu_s(runs: Sequence[Imported]) -> float:
    return statistics.median(run.cpu_s for run in runs)


def _in_a_task(node: LocalNode, project: Path) -> Imported:
    words = ("run", *all_cores(node), "--", "python", "train.py")
    return Imported(*map(float, type_at(node, project, *words).split()))


def _locally(tree: Path, project: Path) -> Imported:
    """By the same interpreter and files, which lie at another path here."""
    (site,) = tree.glob("venv/lib/python3*/site-packages")
    (python,) = tree.glob("py/bin/python3.*")
    done = subprocess.run(  # noqa: S603  (the interpreter that we had built)
        [python, project / "train.py"],
        env={"LD_LIBRARY_PATH": str(tree / "py/lib"), "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    return Imported(*map(float, done.stdout.split()))
