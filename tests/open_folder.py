"""A temporary folder for tests with more users than one."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def open_folder() -> Iterator[Path]:
    """One that every user of this machine may pass through.

    None of pytest's: those lie in one that each of its runs closes to others when it begins.
    """
    folder = Path(tempfile.mkdtemp(prefix="swarm-test-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
