"""A swarm of real node processes on this machine: `python -m testnet.loopback --nodes 7 [--keep]`.

Prints every node's API socket and an example command, then waits. Ctrl-C or SIGTERM stops all nodes
and removes their folders; `--keep` leaves the folders, with each node's node.log. What is not said
comes from networks/local.toml.
"""

import argparse
import os
import signal
import sys
import threading
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from swarmnode.demo.launcher import LocalNode, LocalSwarm, new_root
from swarmnode.demo.report import StepFailedError
from swarmnode.home.config import PROFILES

FILE: Final = Path(__file__).parent / "networks" / "local.toml"
NODES_MAX: Final = 64
"""Each is a process of some 70 MB: a testnet beyond this wants a second machine."""
LOOK_EVERY_S: Final = 1.0


def main(arguments: Sequence[str]) -> int:
    """Run until interrupted; the exit code: 0, 1 when a node did not start or stop, 2 for usage."""
    usual = tomllib.loads(FILE.read_text())["network"]
    parser = argparse.ArgumentParser(prog="python -m testnet.loopback")
    parser.add_argument(
        "--nodes", type=_node_count, default=usual["nodes"], help="how many (default: %(default)s)"
    )
    parser.add_argument("--keep", action="store_true", help="leave the nodes' folders behind")
    parser.add_argument(
        "--profile", choices=list(PROFILES), default=usual["profile"], help="default: %(default)s"
    )
    asked = parser.parse_args(arguments)
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    swarm = LocalSwarm(new_root(), profile=asked.profile, keep=asked.keep)
    try:
        _start(swarm, asked.nodes)
        _tell(swarm)
        _watch(swarm, stopped)
        swarm.stop()
        left = swarm.leftovers()
    except StepFailedError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        swarm.destroy()
    if left:
        print(f"left over: {', '.join(left)}", file=sys.stderr)
        return 1
    print(f"stopped; folders kept under {swarm.root}" if asked.keep else "stopped, nothing is left")
    return 0


def _node_count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= NODES_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not from 1 to {NODES_MAX}")
    return int(text)


def _start(swarm: LocalSwarm, count: int) -> None:
    for number in range(1, count + 1):
        # Somebody must be ready before there is anybody to meet.
        swarm.add(f"node{number}", **({"NETWORK__ALONE": "true"} if number == 1 else {}))
    for node in swarm.nodes:
        swarm.start(node)
    swarm.wait_ready()


def _tell(swarm: LocalSwarm) -> None:
    print(f"{len(swarm.nodes)} nodes, profile {swarm.profile}, under {swarm.root}")
    for node in swarm.nodes:
        print(f"  {node.name:<7} {_socket(node)}  {node.listen}")
    print(f"try: SWARM_API={_socket(swarm.nodes[0])} {_command()} peer ls")
    print("Ctrl-C stops them all", flush=True)


def _socket(node: LocalNode) -> Path:
    return node.client.socket_path


def _command() -> str:
    beside = Path(sys.executable).with_name("swarm")
    return os.path.relpath(beside) if beside.exists() else "swarm"


def _watch(swarm: LocalSwarm, stopped: threading.Event) -> None:
    """Return when asked to stop; a node that ends by itself is told once."""
    told: set[str] = set()
    while not stopped.wait(LOOK_EVERY_S):
        for node in swarm.nodes:
            if not node.running and node.name not in told:
                told.add(node.name)
                print(f"{node.name} ended by itself:\n{node.log_tail()}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
