"""A project whose packages are an environment: built once, and started again and again."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from swarmnode.demo.launcher import LocalNode, LocalSwarm, new_root

_START_S: Final = 60.0
_IMPORT: Final = """\
import time
began, clock = time.time(), time.perf_counter()
import numpy, sklearn
print(began, time.perf_counter() - clock)
"""


def measure(root: Path, rounds: int) -> dict[str, object]:
    """See bench.env."""
    project = root / "project"
    project.mkdir()
    (project / "requirements.txt").write_text("numpy\nscikit-learn\n")
    (project / "train.py").write_text(_IMPORT)
    swarm = LocalSwarm(new_root(), environ={"SWARM_STORAGE__MIN_FREE_GIB": "0.2"})
    try:
        node = swarm.add("n0")
        swarm.start(node)
        swarm.wait_ready(_START_S)
        built_s, _ = _run(node, project)
        _run(node, project)  # from here on the files are in memory
        runs = [_run(node, project) for _ in range(rounds)]
        (tree,) = node.home.glob("**/environments/trees/*")
        return _figures(built_s, runs, tree, rounds)
    finally:
        swarm.destroy()


def _figures(
    built_s: float, runs: list[tuple[float, float]], tree: Path, rounds: int
) -> dict[str, object]:
    import_s = statistics.median(run[1] for run in runs)
    local_s = statistics.median([_locally(tree) for _ in range(rounds + 1)][1:])
    files = (path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    return {
        "second_start_s": round(statistics.median(run[0] for run in runs), 3),
        "import_s": round(import_s, 3),
        "import_vs_local": round(import_s / local_s, 3),
        "build_s": round(built_s, 1),
        "environment_mb": round(sum(path.stat().st_size for path in files) / 1e6),
    }


def _run(node: LocalNode, project: Path) -> tuple[float, float]:
    """Seconds until the first line, and of the imports."""
    began = time.time()
    words = ("run", "--cpu", str(os.cpu_count() or 1), "--", "python", "train.py")
    done = subprocess.run(  # noqa: S603  (our own command)
        [sys.executable, "-m", "swarmnode.cli.main", *words],
        cwd=project,
        env={**os.environ, "SWARM_API": str(node.client.socket_path)},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    first, took = map(float, done.stdout.split())
    return first - began, took


def _locally(tree: Path) -> float:
    """Seconds of the imports by the same interpreter and files."""
    (site,) = tree.glob("venv/lib/python3*/site-packages")
    (python,) = tree.glob("py/bin/python3.*")
    done = subprocess.run(  # noqa: S603  (the interpreter that we had built)
        [python, "-c", _IMPORT],
        env={"LD_LIBRARY_PATH": str(tree / "py/lib"), "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[1])
