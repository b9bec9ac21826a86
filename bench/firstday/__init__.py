"""The first day: from a clone of this repository to a training step on somebody else's machine.

Three machines on emulated lines (`testnet.emulator`) of 200 Mbit/s out of each and 10 ms each way.
`laptop` and `box` are behind firewalls that let nothing in; `rita`, in the open, carries sealed
connections between them, and keeps and runs nothing herself. She and the box are a pool already.
On the laptop there is a clone, a project with a script and a requirements.txt of one line without
hashes, and a file of 500 MB. The laptop lends one core, and the task asks for two.

commands
    Lines that people type from there on, all of them: one by who invites (on rita), the others on
    the laptop, in one shell, which stands in the clone. The invite is pasted.
total_s
    From the first of them until the script's line of its first step is read on the laptop.
ran_on
    Where it was: `box`, or the figures are of something else.
steps
    Of each line what was typed and its seconds; `up` counts until the node says that it is ready,
    `run` until the step. Of `run`, how long until it had said what it sends, which is after the
    environment was there (`environment_s`), and from then until the step (`data_and_start_s`).
edits
    1 if the script in the project is not as it was.
relayed_mb
    What rita carried.
line_mbit, line_delay_ms, packet_bytes
    What the emulator was asked for. Packets have 9,000 bytes, or it would itself take one of two
    processors, which three machines share here already. Nobody's time to type is counted.

The set-up has its packages from where this machine's settings of pip say, on this machine's own
network and not by the emulated line; those of the environment lie in a folder of the laptop and the
box, which both name in pip.conf.
"""

import shutil
import tempfile
from pathlib import Path

from bench.firstday import day
from testnet.emulator.lab import missing


def measure(rounds: int) -> dict[str, object]:
    """One day, whatever the rounds; about three minutes. OSError without root or /dev/net/tun."""
    del rounds
    if why := missing():
        raise OSError(f"bench firstday needs {why}")
    root = Path(tempfile.mkdtemp(prefix="swarm-day-"))
    try:
        return day.figures(root)
    finally:
        shutil.rmtree(root)
