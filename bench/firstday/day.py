"""What is typed on the first day, and how long it takes."""

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Final

import msgspec

from bench.firstday import machines
from bench.firstday.shell import Shell, plain
from swarmnode.api.schema.node import Status
from swarmnode.cli.client import Client
from swarmnode.demo.launcher import LocalNode, LocalSwarm, processes_of
from testnet.emulator.lab import EmulatedLab

_INVITE: Final = "swarmnode invite"
_SET_UP: Final = "make setup"
_ACTIVATE: Final = ". .venv/bin/activate"
_JOIN: Final = "swarmnode join -"
_UP: Final = "swarmnode up &"
_GO: Final = "cd ../digits"
_RUN: Final = "swarm run --cpu 2 --in ../data.bin -- python train.py"


def figures(root: Path) -> dict[str, object]:
    """See bench.firstday."""
    machines.lay_out(root)
    try:
        with machines.lines() as lab, machines.pool(lab, root) as swarm:
            return _typed(root, lab, swarm)
    finally:
        _end(root)


def _typed(root: Path, lab: EmulatedLab, swarm: LocalSwarm) -> dict[str, object]:
    rita, box = swarm.nodes
    came = {}
    with Shell(lab.inside("rita"), root, _ritas(rita)) as shell:
        came[_INVITE] = shell.type(_INVITE)
        invite = next(line for line in came[_INVITE] if line.startswith("swarm1"))
    with Shell((), root / "swarm", os.environ) as shell:
        came[_SET_UP] = shell.type(_SET_UP)
    laptop = {**plain(root), "SWARM_COMPUTE__CPU_MILLIS": "1000"}
    with Shell(lab.inside("laptop"), root / "swarm", laptop) as shell:
        came[_ACTIVATE] = shell.type(_ACTIVATE)
        came[_JOIN] = shell.type(f"{_JOIN} <<< {invite}")
        came[_UP] = shell.type(_UP, until="ready")
        came[_GO] = shell.type(_GO)
        came[_RUN] = shell.type(_RUN, until=machines.STEP)
        return _told(root, came, rita, box)


def _told(
    root: Path, came: dict[str, dict[str, float]], rita: LocalNode, box: LocalNode
) -> dict[str, object]:
    took = {line: max(times.values()) for line, times in came.items()}
    sending_s = next(at_s for said, at_s in came[_RUN].items() if said.startswith("sending "))
    script = (root / "digits/train.py").read_text()
    status = msgspec.convert(rita.client.get("/api/v1/status"), Status)
    return {
        "commands": len(took),
        "total_s": round(sum(took.values()), 1),
        "steps": {line: round(at_s, 1) for line, at_s in took.items()},
        "environment_s": round(sending_s, 1),
        "data_and_start_s": round(took[_RUN] - sending_s, 1),
        "ran_on": "box" if _has_run(root, box) else "another machine",
        "edits": int(script != machines.TRAIN),
        "relayed_mb": round(status.peers.carried_bytes / 1e6),
        "data_mb": round(machines.DATA_BYTES / 1e6),
        "line_mbit": machines.LINE_MBIT,
        "line_delay_ms": machines.LINE_DELAY_MS,
        "packet_bytes": machines.PACKET_BYTES,
        "processors": os.cpu_count(),
    }


def _has_run(root: Path, box: LocalNode) -> bool:
    """Whether the task with the data is, or was, there."""
    laptop = Client(root / ".local/state/swarm/run/api.sock")
    tasks = laptop.get("/api/v1/tasks")
    return [task["provider"] for task in tasks if task["name"] == "digits"] == [box.peer]


def _ritas(rita: LocalNode) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "SWARM_HOME": str(rita.home)}


def _end(root: Path) -> None:
    """The laptop's node, and what it started."""
    for pid in processes_of(root):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
