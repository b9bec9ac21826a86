"""What holds for every test."""

import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from testnet.sim.seeded import collect_rarely
from tests.open_folder import open_folder

LONG: Final = (
    "integration/test_recovery.py",
    "integration/test_power_cut.py",
    "integration/test_guardians.py",
    "integration/test_members.py",
    "integration/test_damaged_state.py",
    "day",
    "security/test_floods.py",
    "sim/test_chaos.py",
    "integration",
    "security",
    "sim",
)
"""Files and rooms that take longest, or wait for processes: these begin, so that at the end of a
run by several workers none is left alone with one of them."""


def pytest_configure() -> None:
    """What this process hands down to every process that a test starts.

    Ctrl-C is heard even where the run was started in the background, which ignores it: an ignored
    signal is inherited, and tests that interrupt a program would wait for ever. Bytecode is kept,
    whatever the environment says: hundreds of programs start, and each would compile itself anew.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def pytest_collection_finish() -> None:
    """No collection of garbage looks at thousands of tests and their modules again."""
    gc.collect()
    collect_rarely()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long files first, otherwise as collected."""
    tests = Path(__file__).parent

    def rank(item: pytest.Item) -> int:
        place = item.path.relative_to(tests).as_posix()
        return next((at for at, name in enumerate(LONG) if place.startswith(name)), len(LONG))

    items.sort(key=rank)


@pytest.fixture
def open_path() -> Iterator[Path]:
    """As `tmp_path`, and every user of this machine may pass through it."""
    with open_folder() as folder:
        yield folder
