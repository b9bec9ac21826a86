"""Nodes go on with what the daemons of an earlier version had left."""

import hashlib
import json
import os
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from swarmnode.cli.client import ApiError, Client
from swarmnode.demo.launcher import LocalNode, LocalSwarm
from swarmnode.demo.report import until
from tests.integration.swarm_lab import all_see_all, submit, wait

HERE: Final = Path(__file__).parent
FACTS: Final[dict[str, Any]] = json.loads((HERE / "homes.json").read_text())
SAFELY: Final[dict[str, Any]] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
"""Early releases of Python 3.11 know no filters."""
ROOM: Final = {"SWARM_STORAGE__MIN_FREE_GIB": "0", "SWARM_STORAGE__QUOTA_GIB": "1"}


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSwarm]:
    """Three of them, on the day on which they were stopped."""
    root = tmp_path_factory.mktemp("c")
    with tarfile.open(HERE / "homes.tar.xz") as homes:
        for one in homes.getmembers():
            homes.extract(one, root, **SAFELY)
    for folder in (place for place in root.rglob("*") if place.is_dir()):
        folder.chmod(0o700)
    clock = root / "clock"
    clock.write_text(str(FACTS["made_ms"] + 20_000 - int(time.time() * 1000)))
    swarm = LocalSwarm(root)
    for one in FACTS["nodes"]:
        home = root / one["name"]
        environ = {k: v for k, v in os.environ.items() if not k.startswith("SWARM_")} | {
            "SWARM_HOME": str(home),
            "SWARM_NODE__PROFILE": "test",
            "SWARM_LISTEN__ADDRESSES": one["listen"].partition("/p2p/")[0],
            "KEEP_CLOCK": str(clock),
            **ROOM,
        }
        client = Client(home / "run" / "api.sock")
        swarm.nodes.append(
            LocalNode(one["name"], home, one["listen"], one["peer"], environ, client)
        )
    try:
        for node in swarm.nodes:
            swarm.start(node, [sys.executable, "-m", "bench.keep.skewed"])
        swarm.wait_ready(30)
        until(lambda: all_see_all(swarm), within_s=30, what="everybody seen by everybody")
        yield swarm
    finally:
        swarm.destroy()


def read(node: LocalNode, cap: str) -> str:
    digest = hashlib.sha256()
    for piece in node.client.download("/api/v1/objects/read", {"cap": cap}):
        digest.update(piece)
    return digest.hexdigest()


def test_they_are_who_they_were(swarm: LocalSwarm) -> None:
    for node in swarm.nodes:
        assert node.client.get("/api/v1/status")["peer"] == node.peer


def test_every_object_is_there_and_what_was_removed_is_not(swarm: LocalSwarm) -> None:
    for cap, digest in FACTS["objects"].items():
        assert [read(node, cap) for node in swarm.nodes] == [digest] * 3
    names = {one["name"] for one in swarm.nodes[0].client.get("/api/v1/objects")}
    assert {"a page", "big"} <= names <= set(FACTS["names"])
    with pytest.raises(ApiError):
        swarm.nodes[1].client.get(f"/api/v1/objects/{FACTS['gone']}")


def test_tasks_that_had_ended_are_shown_with_their_logs_and_outputs(swarm: LocalSwarm) -> None:
    client = swarm.nodes[0].client
    done, failed = (client.get(f"/api/v1/tasks/{FACTS[name]}") for name in ("done", "failed"))
    assert (done["state"], failed["state"], failed["exit_code"]) == ("done", "failed", 3)
    streams = [(FACTS["done"], "stdout", b"printed\n"), (FACTS["failed"], "stderr", b"why\n")]
    for task, stream, printed in streams:
        path = f"/api/v1/tasks/{task}/logs?stream={stream}"
        assert b"".join(client.stream(path)) == printed
    out = done["outputs"][0]["cap"]
    assert read(swarm.nodes[2], out) == hashlib.sha256(b"result\n").hexdigest()


def test_the_task_that_ran_goes_on_from_its_checkpoint(swarm: LocalSwarm) -> None:
    client, path = swarm.nodes[0].client, f"/api/v1/tasks/{FACTS['half']}"

    def goes_on() -> bool:
        shown = client.get(path)
        return bool(shown["attempts"] > 1 and shown["history"][-1]["restored_step"] > 0)

    until(goes_on, within_s=90, what="another attempt from the checkpoint")
    client.call("POST", f"{path}/cancel")


def test_they_take_new_work(swarm: LocalSwarm) -> None:
    task = submit(swarm.nodes[1], {"run": ["echo", "new"]})
    assert wait(swarm.nodes[1], task)["state"] == "done"
