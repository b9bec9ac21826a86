"""The launcher of testnet: it tells where its nodes are, and one Ctrl-C ends everything."""

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from swarmnode.cli.client import Client

START_S = 60.0


@pytest.mark.parametrize("keep", [False, True])
def test_an_interrupt_stops_every_node_and_removes_the_folders_unless_they_are_kept(
    keep: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    command = [sys.executable, "-m", "testnet.loopback", "--nodes", "2", *(["--keep"] * keep)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None
        watchdog = threading.Timer(START_S, launcher.kill)
        watchdog.start()
        lines = []
        for line in launcher.stdout:
            lines.append(line)
            if line.startswith("Ctrl-C"):
                break
        sockets = re.findall(r"^ +node\d +(\S+)", "".join(lines), re.MULTILINE)
        assert [Client(Path(one)).get("/api/v1/status")["state"] for one in sockets] == [
            "ready"
        ] * 2
        launcher.send_signal(signal.SIGINT)
        last = launcher.stdout.read()
        assert launcher.wait() == 0
        watchdog.cancel()
    assert ("nothing is left" in last) is not keep
    assert bool(list(tmp_path.glob("swarm-*/node1/node.log"))) is keep


def test_a_number_of_nodes_that_makes_no_sense_is_refused_in_words() -> None:
    command = [sys.executable, "-m", "testnet.loopback", "--nodes", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "'0' is not from 1 to 64" in done.stderr
