"""A simulation in a process of its own, where strings hash as the test says."""

import subprocess
import sys


def assert_seed_decides(script: str, within_s: float) -> None:
    """One seed gives one output of `script SEED`, whatever the hash seed; another gives another."""

    def traced(seed: int, hash_seed: int) -> str:
        return subprocess.run(
            [sys.executable, "-c", script, str(seed)],
            env={"PYTHONHASHSEED": str(hash_seed)},
            check=True,
            capture_output=True,
            text=True,
            timeout=within_s,
        ).stdout

    once = traced(1, 1)
    assert once == traced(1, 2)
    assert once != traced(2, 1)
