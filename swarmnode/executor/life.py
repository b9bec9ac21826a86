"""Whether the node's process that was here before us died, and which jobs had just begun.

The mark of a living node holds the boot it lives in and is touched now and then. A node that goes
in good order takes it away; after a loss of power the boot is another one. What is left then is
the mark of a process that died: killed, out of memory or descriptors, or by a fault of its own.
Blocking, all of it quick.
"""

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from swarmnode.contained import contained
from swarmnode.executor.job_folder import JobFolder, boot_id
from swarmnode.executor.shim import pairs
from swarmnode.limits import NODE_DEATH_SOON_MS
from swarmnode.tasks.deaths import SEEN_EVERY_S

TOUCH_S: Final = SEEN_EVERY_S
"""How well it is known when a node died."""

_DEATHS: Final = "deaths"


class NodeLife:
    """The mark of this node's process, in the executor's folder."""

    def __init__(self, folder: Path) -> None:
        self._mark = folder / "alive"
        """`BOOT BEGAN_MS`; changed last when the node that wrote it was seen alive last."""

    def begin(self, jobs: Iterable[JobFolder]) -> None:
        """Note which jobs a node before us died of, if it died; from now on ours is noticed."""
        boot = boot_id()
        try:
            was, _, began_ms = self._mark.read_text().partition(" ")
            died_ms = self._mark.stat().st_mtime_ns // 1_000_000
        except FileNotFoundError:
            was, began_ms, died_ms = "", "", 0
        for folder in jobs if was == boot and began_ms.isdigit() else ():
            with contained(f"the look at how job {folder.path.name} ended"):
                _note(folder, int(began_ms), died_ms)
        with contextlib.suppress(OSError):  # a full disk: nothing will be told of our death
            self._mark.write_text(f"{boot} {time.time_ns() // 1_000_000}")

    def touch(self) -> None:
        """We live. A full disk does not matter."""
        with contextlib.suppress(OSError):
            os.utime(self._mark)

    def end(self) -> None:
        """We go in good order."""
        self._mark.unlink(missing_ok=True)


def _note(folder: JobFolder, began_ms: int, died_ms: int) -> None:
    """Write down that the node that began then died soon after this job, or after it came back."""
    state, (first_ms, count) = folder.read_state(), deaths_of(folder)
    if state is None:
        return
    with contextlib.suppress(FileNotFoundError):
        if (folder.path / "exit").stat().st_mtime_ns // 1_000_000 < died_ms:
            return  # it was over, and the node lived
    since_ms = max(state.started_ms, began_ms) if count else state.started_ms
    if died_ms - since_ms > NODE_DEATH_SOON_MS:
        return
    first_ms = first_ms or max(1, died_ms - state.started_ms)
    noted = [("ms", str(first_ms)), ("count", str(count + 1))]
    with contextlib.suppress(OSError):
        pairs.write_pairs(str(folder.path / _DEATHS), noted, durable=False)


def deaths_of(folder: JobFolder) -> tuple[int, int]:
    """How long the job had run when the node that first died under it was seen last, and how often
    nodes did; zeros: never."""
    try:
        noted = dict(pairs.read_pairs(str(folder.path / _DEATHS)))
        return int(noted["ms"]), int(noted["count"])
    except (FileNotFoundError, ValueError, KeyError):  # a power cut: no death is known
        return 0, 0
