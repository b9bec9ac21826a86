"""Whether promises are kept: seven real nodes under load while everything happens to them.

Per minute at least twenty puts (1 KiB to 64 MiB), gets, removals and four tasks, submitted with
`--detach`, as by somebody who closes the laptop then. One kind of fault
after another, each at least once in five minutes, counted in `faults`:

kill       SIGKILL of a daemon; its tasks live on under their shims; it is started again
power      a power cut: what was not synced to its disk is gone with its processes
freeze     SIGSTOP of a machine with everything on it
clock      a wall clock that jumps 40 days ahead or a day back, and back again
full       a disk without one free byte
cut        two machines are cut off from the others
away       the machine that submits is off for ten times lease and grace
gone       every third time it never comes back; a blank machine takes its owner in

Each machine has a disk of its own (an ext4 image, shut down without its log for a power cut), a
network namespace of its own and a wall clock of its own; everything ends with the bench, since it
runs in a process namespace of its own. After the last fault and two quiet minutes everything is
read back and judged:

acknowledged_lost       objects whose put was acknowledged, not removed, that cannot be read
removed_returned        objects whose removal was acknowledged that some machine still serves
tasks_lost              submitted tasks that have not ended as they should, seen by their owner
unguarded_gone          of those whose answer said that not all guardians held them yet, the ones
                        that went with their machine
attempts_overlapping_s  the longest time two attempts of one task ran at once; frozen ones do not
lease_grace_s           what they may overlap across a cut
nodes_not_starting      starts after which a node was not ready in time
nodes_ended             daemons that ended by themselves; a supervisor started them again
wrong_bytes             reads that gave other bytes than were put
tracebacks              in all logs of all nodes
"""

import json
import shutil
import signal
import subprocess
import sys
from types import FrameType
from typing import Final

from swarmnode.demo.launcher import new_root

QUIET_S: Final = 120.0


def measure(minutes: float, seed: int = 1, logs: str = "") -> dict[str, object]:
    """Run for so long and judge; with `logs` the nodes' logs are left in that folder.

    Needs root, mount(8), mkfs.ext4, ip(8), setpriv(1).
    """
    root = new_root()
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter
            apart(
                sys.executable, "-m", "bench.keep.inside",
                str(minutes), str(seed), logs, str(root),
            ),
            stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGTERM, before)
        shutil.rmtree(root, ignore_errors=True)  # whoever was killed in there left it
    figures: dict[str, object] = json.loads(done.stdout)
    return figures


def apart(*argv: str) -> list[str]:
    """The same in namespaces of its own. All that is in there dies with whoever starts it."""
    return [
        "/usr/bin/setpriv", "--pdeathsig", "KILL",
        "/usr/bin/unshare", "--mount", "--propagation", "private", "--net", "--pid", "--fork",
        "--kill-child", "--mount-proc", *argv,
    ]  # fmt: skip


def _leave(number: int, _frame: FrameType | None) -> None:
    """Ends what was begun and leaves nothing behind."""
    sys.exit(128 + number)
