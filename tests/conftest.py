"""What holds for every test."""

import gc
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from testnet.sim.seeded import collect_rarely
from tests.open_folder import open_folder

WAIT: Final = {
    "day": 90,
    "integration/test_recovery.py": 100,
    "integration/test_guardians.py": 70,
    "integration/test_members.py": 50,
    "integration/test_lost_leases.py": 35,
    "security/test_floods.py": 30,
    "integration/test_training_moves.py": 25,
    "integration/test_daemon_restarts.py": 20,
    "integration/test_copied_home.py": 20,
    "integration/test_held_back.py": 20,
    "integration/test_my_machines.py": 20,
    "integration": 8,
}
"""Files and rooms that mostly wait for other processes, and about how many seconds a file takes."""
COMPUTE: Final = {
    "sim/test_chaos.py": 25,
    "sim/test_guardians_sim.py": 15,
    "sim/test_membership_sim.py": 10,
    "sim/test_my_machines_sim.py": 10,
    "sim/test_thought_gone_sim.py": 10,
    "unit/swarmnode/recovery/test_machines.py": 10,
    "sim": 4,
    "security": 3,
    "": 0.5,
}
"""The same of those that compute: the last is any other file."""


def pytest_configure() -> None:
    """What this process hands down to every process that a test starts.

    Ctrl-C is heard even where the run was started in the background, which ignores it: an ignored
    signal is inherited, and tests that interrupt a program would wait for ever. So is the end of a
    terminal under nohup, which means nothing to this process. Bytecode is kept,
    whatever the environment says: hundreds of programs start, and each would compile itself anew.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, lambda _number, _frame: None)  # a handler is not inherited
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def pytest_collection_finish() -> None:
    """No collection of garbage looks at thousands of tests and their modules again."""
    gc.collect()
    collect_rarely()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long files first, those that wait among those that compute.

    So no worker is left alone with a long one at the end, and no processor idles while all wait.
    """
    tests = Path(__file__).parent
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path.relative_to(tests).as_posix(), []).append(item)
    waiting = {file: _seconds(WAIT, file) for file in files if _seconds(WAIT, file)}
    computing = {file: _seconds(COMPUTE, file) for file in files if file not in waiting}
    order = sorted([*_shares(waiting), *_shares(computing)])
    items[:] = [item for _, file in order for item in files[file]]


def _seconds(known: Mapping[str, float], file: str) -> float:
    """By the first name that fits."""
    return next((seconds for name, seconds in known.items() if file.startswith(name)), 0.0)


def _shares(seconds: Mapping[str, float]) -> Iterator[tuple[float, str]]:
    """Each file, the longest first, and which share of the time of all is over when it begins."""
    total, over = sum(seconds.values()), 0.0
    for file in sorted(seconds, key=lambda file: -seconds[file]):
        yield over / total, file
        over += seconds[file]


@pytest.fixture
def open_path() -> Iterator[Path]:
    """As `tmp_path`, and every user of this machine may pass through it."""
    with open_folder() as folder:
        yield folder
