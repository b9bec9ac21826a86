"""A power cut at any point of start, puts and tasks: the node starts, nothing acknowledged is lost.

What a real node does to its disk is recorded, and replayed as a disk would have it after a cut.
"""

import hashlib
import io
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import testnet.powercut
from swarmnode.cli.client import ApiError, NodeUnreachableError
from swarmnode.demo.launcher import LocalSwarm, new_root
from swarmnode.demo.report import StepFailedError, until
from testnet.powercut.disk import LOSSES, Recording, mark, sampled

SOURCE = Path(testnet.powercut.__file__).parent / "recorder.c"
STATES, STATES_ALL = 8, 400
PRINTED = "printed before the end"
YOUNG = "mkdir -p ckpt/s1 && echo w >ckpt/s1/w && echo said && exec sleep 600"


class Scene:
    """One node on a disk that can be cut off."""

    def __init__(self, swarm: LocalSwarm, recorder: Path) -> None:
        self.swarm, self.node = swarm, swarm.add("n0")
        self.log = swarm.root / "log"
        self._before = swarm.root / "before"
        self._recorder = recorder

    def record(self) -> Recording:
        """A short life, to the moment when the power fails."""
        home = self.node.home
        shutil.copytree(home, self._before)
        plain = dict(self.node.environ)
        self.node.environ |= {
            "LD_PRELOAD": str(self._recorder),
            "PC_LOG": str(self.log),
            "PC_DIR": str(home),
        }
        self.swarm.start(self.node)
        self.swarm.wait_ready(30)
        self._put(b"small" * 10)
        self._put(os.urandom(300_000))
        done = f"echo done >out; echo {PRINTED}"
        self._run({"run": ["/bin/sh", "-c", done], "outputs": ["out"]}, ends=True)
        self._put(os.urandom(9_000_000))
        checkpoint = {"dir": "ckpt", "every_s": 1}
        self._run({"run": ["/bin/sh", "-c", YOUNG], "checkpoint": checkpoint}, ends=False)
        self._put(b"last" * 20_000)
        self.swarm.kill_machine(self.node)
        self.node.environ = plain
        return Recording(home, self._before, self.log)

    def _put(self, data: bytes) -> None:
        receipt = self.node.client.upload("/api/v1/objects?name=x", io.BytesIO(data))
        mark(self.log, {"cap": receipt["cap"], "sha256": hashlib.sha256(data).hexdigest()})

    def _run(self, spec: dict[str, Any], *, ends: bool) -> None:
        task = self.node.client.call("POST", "/api/v1/tasks", spec)["task"]
        mark(self.log, {"task": task, "state": ""})
        if ends:
            view = self.node.client.get(f"/api/v1/tasks/{task}/wait?timeout_s=30", timeout_s=40)
            mark(self.log, {"task": task, "state": view["state"]})
        else:
            until(lambda: self._has_said(task), within_s=30, what="the task runs")

    def _has_said(self, task: str) -> bool:
        return self._said(task) == b"said\n"

    def _said(self, task: str) -> bytes:
        return b"".join(self.node.client.stream(f"/api/v1/tasks/{task}/logs"))

    def judge(self, acknowledged: list[dict[str, Any]]) -> list[str]:
        """Start on the disk as it is; everything that is not as it should be."""
        self.swarm.start(self.node)
        try:
            self.swarm.wait_ready(30)
            return [fault for one in acknowledged if (fault := self._fault(one))]
        except (StepFailedError, NodeUnreachableError) as error:
            return [f"it does not start: {error}"]
        finally:
            self.swarm.kill_machine(self.node)

    def _fault(self, acknowledged: dict[str, Any]) -> str:
        client = self.node.client
        try:
            if "task" in acknowledged:
                return self._fault_of_task(acknowledged["task"], acknowledged["state"])
            pieces = client.download("/api/v1/objects/read", {"cap": acknowledged["cap"]})
            found = hashlib.sha256(b"".join(pieces)).hexdigest()
        except (ApiError, EOFError) as error:
            return f"{acknowledged}: {error}"
        return "" if found == acknowledged["sha256"] else f"{acknowledged}: other bytes"

    def _fault_of_task(self, task: str, wanted: str) -> str:
        state = self.node.client.get(f"/api/v1/tasks/{task}")["state"]
        if wanted not in ("", state):
            return f"{wanted} became {state}"
        if wanted == "done" and (said := self._said(task)) != f"{PRINTED}\n".encode():
            return f"it printed {said!r}"
        return ""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: the recorder cannot be built")
    recorder = tmp_path_factory.mktemp("powercut") / "recorder.so"
    flags = ("-shared", "-fPIC", "-O1", "-o", str(recorder))
    subprocess.run([compiler, *flags, str(SOURCE), "-ldl", "-lpthread"], check=True)
    swarm = LocalSwarm(new_root())
    try:
        yield Scene(swarm, recorder)
    finally:
        swarm.destroy()


@pytest.fixture(scope="module")
def recording(scene: Scene) -> Recording:
    return scene.record()


def cut_off(scene: Scene, recording: Recording, states: int, seed: int) -> None:
    dice = random.Random(seed)
    faults = []
    for number, cut in enumerate(sampled(recording.interesting(), states, dice)):
        loss = LOSSES[number % len(LOSSES)]
        recording.play(cut, loss, dice)
        where = f"cut {cut} of {len(recording.changes)}, loss {loss}, seed {seed}"
        faults += [f"{where}: {one}" for one in scene.judge(recording.acknowledged(cut))]
    assert faults == []


def test_a_power_cut_costs_nothing_that_was_acknowledged(
    scene: Scene, recording: Recording
) -> None:
    cut_off(scene, recording, STATES, seed=1)


@pytest.mark.slow
def test_a_power_cut_anywhere_costs_nothing_that_was_acknowledged(
    scene: Scene, recording: Recording
) -> None:
    cut_off(scene, recording, STATES_ALL, seed=2)
