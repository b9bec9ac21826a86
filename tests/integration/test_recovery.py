"""A machine is gone with all that was on it, and its person comes back by 24 words."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from swarmnode.cli.client import ApiError, Client
from swarmnode.demo.launcher import LocalNode
from swarmnode.demo.report import until
from tests.integration.swarm_lab import put, submit, swarm_of, wait


def typed(home: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """A command in a home."""
    given = {key: value for key, value in os.environ.items() if not key.startswith("SWARM_")}
    given |= {"SWARM_HOME": str(home), "SWARM_LISTEN__ADDRESSES": "/ip4/127.0.0.1/tcp/0"}
    return subprocess.run(
        [sys.executable, "-m", "swarmnode.cli.main", *words],
        env=given, input=stdin, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def text_of(client: Client, cap: str) -> bytes:
    return b"".join(client.download("/api/v1/objects/read", {"cap": cap}))


def is_copied(node: LocalNode) -> bool:
    """Whether the pool has all that the node knows."""
    return not node.client.get("/api/v1/status")["counters"]["keyring_behind"]


def test_a_submitter_s_home_is_deleted_and_everything_is_read_back(tmp_path: Path) -> None:
    with swarm_of(4) as swarm:
        gone, friend = swarm.nodes[0], swarm.nodes[1]
        home = gone.home
        phrase = typed(home, "key", "phrase").stdout
        assert len(phrase.split()) == 24
        kept = put(gone, b"a year of work" * 1000, "thesis")
        spec = {
            "run": ["sh", "-c", "echo result >out.txt"],
            "outputs": ["out.txt"],
            "require": [friend.peer],
        }
        task = submit(gone, spec)
        done = wait(gone, task)
        assert done["state"] == "done"
        until(lambda: len(gone.client.get("/api/v1/objects")) == 2, within_s=20, what="both")
        addresses = friend.client.get("/api/v1/status")["addresses"]
        until(lambda: is_copied(gone), within_s=60, what="a copy in the pool")
        swarm.kill_daemon(gone)
        shutil.rmtree(home)

        blank = tmp_path / "b"
        said = typed(blank, "recover", "--address", addresses[0], stdin="wrong words")
        assert said.returncode == 2
        assert "24 words, not 2" in said.stderr
        said = typed(blank, "recover", "--address", addresses[0], stdin=phrase)
        assert said.returncode == 0, said.stderr
        assert phrase.split()[5] + " " + phrase.split()[6] not in said.stdout
        with subprocess.Popen(
            [sys.executable, "-m", "swarmnode.daemon"],
            env={
                **os.environ,
                "SWARM_HOME": str(blank),
                "SWARM_LISTEN__ADDRESSES": "/ip4/127.0.0.1/tcp/0",
                "SWARM_NODE__PROFILE": "test",
                "SWARM_STORAGE__MIN_FREE_GIB": "0",
            },
            stderr=subprocess.DEVNULL,
        ) as daemon:
            try:
                client = Client(blank / "run/api.sock")
                client.wait_ready(30)
                until(lambda: len(client.get("/api/v1/objects")) == 2, within_s=60, what="objects")
                until(lambda: bool(client.get("/api/v1/tasks")), within_s=20, what="tasks")
                assert text_of(client, kept["cap"]) == b"a year of work" * 1000
                found = client.get(f"/api/v1/tasks/{task}")
                assert found["state"] == "done"
                assert text_of(client, found["outputs"][0]["cap"]) == b"result\n"
                rows = client.get("/api/v1/objects")
                assert {one["name"] for one in rows} == {"thesis", f"output/{task}/out.txt"}
                removed = client.call("DELETE", f"/api/v1/objects/{kept['address']}")
                assert removed["changed"], "they are its owner's again"
                with pytest.raises(ApiError):
                    client.call("DELETE", f"/api/v1/objects/{kept['address']}")
                assert (blank / "keys/lab.key").exists()
                assert not (blank / "recovering").exists()
            finally:
                daemon.terminate()
                daemon.wait(20)


def test_a_home_that_is_somebody_s_is_not_recovered_into(tmp_path: Path) -> None:
    home = tmp_path / "h"
    assert typed(home, "init", "--new-network").returncode == 0
    phrase = typed(home, "key", "phrase").stdout
    where = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWSCufgHzV4fCwRijfH2k3abrpAJxTKxEvN1FDuRXA2U9x"
    said = typed(home, "recover", "--address", where, stdin=phrase)
    assert said.returncode == 1
    assert "belongs to network" in said.stderr


def test_init_says_the_phrase_once_and_never_in_a_document(tmp_path: Path) -> None:
    first = typed(tmp_path / "h", "init", "--new-network")
    assert "recovery phrase:" in first.stderr
    phrase = typed(tmp_path / "h", "key", "phrase").stdout.strip()
    assert phrase in first.stderr
    assert phrase not in first.stdout
    assert "recovery phrase" not in typed(tmp_path / "h", "init", "--new-network").stderr
    told = typed(tmp_path / "j", "init", "--new-network", "-o", "json")
    words = typed(tmp_path / "j", "key", "phrase").stdout.strip()
    assert words not in told.stdout + told.stderr
