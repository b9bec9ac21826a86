"""Damaged files of a node: it starts without them, or one line names the file and what to do."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmnode.demo.launcher import LocalNode, LocalSwarm, new_root
from swarmnode.demo.report import StepFailedError
from testnet.powercut.disk import copy_sparse
from tests.integration.swarm_lab import put, submit, wait

FILES = (
    "config.toml",
    "membership.json",
    "keys/machine.key",
    "keys/member.key",
    "keys/lab.key",
    "revoked.txt",
    "api-tokens",
    "state.lmdb/data.mdb",
    "store.lmdb/data.mdb",
    "store.lmdb/lock.mdb",
    "segments/id",
    "segments/00000001.seg",
    "tasks/jobs/bad.1/record.json",
    "run/addresses.json",
    "node.lock",
)
REMEDIES = (
    "restore",
    "remove",
    "move it away",
    "give it its own back",
    "correct",
    "makes one",
    "join",
)


_NO_FILES = shutil.ignore_patterns("*.sock", "control", "node.log")


class Home:
    """A home with a past, and copies of it to spoil."""

    def __init__(self, swarm: LocalSwarm) -> None:
        self.swarm, self.node = swarm, swarm.add("n0")
        self.whole = swarm.root / "whole"
        (self.node.home / "config.toml").write_text("[storage]\nmin_free_gib = 0.5\n")
        private(self.node.home / "revoked.txt", b"# nobody\n")
        private(self.node.home / "api-tokens", b"read " + b"a" * 64 + b" x\n")
        self.node.environ["SWARM_API__TCP"] = "127.0.0.1:0"
        swarm.start(self.node)
        swarm.wait_ready(30)
        put(self.node, os.urandom(300_000))
        wait(self.node, submit(self.node, {"run": ["true"]}))
        swarm.kill_machine(self.node)
        bad = self.node.home / "tasks" / "jobs" / "bad.1"
        bad.mkdir(mode=0o700)
        private(bad / "record.json", b"{}")
        shutil.copytree(self.node.home, self.whole, ignore=_NO_FILES, copy_function=copy_sparse)

    def spoilt(self, name: str, damage: bytes | None) -> LocalNode:
        """The node with one file damaged; None cuts it in half."""
        shutil.rmtree(self.node.home)
        shutil.copytree(self.whole, self.node.home, copy_function=copy_sparse)
        path = self.node.home / name
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2] if damage is None else damage)
        return self.node


def private(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o600)


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    swarm = LocalSwarm(new_root())
    try:
        yield Home(swarm)
    finally:
        swarm.destroy()


GARBAGE = b"\xff\0garbage" * 2000
DAMAGES: tuple[bytes | None, ...] = (b"", GARBAGE, None)


@pytest.mark.parametrize(
    ("name", "damage"), [(name, DAMAGES[number % 3]) for number, name in enumerate(FILES)]
)
def test_a_damaged_file_is_done_without_or_named_with_its_remedy(
    home: Home, name: str, damage: bytes | None
) -> None:
    starts_or_says_why(home, name, damage)


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES, ids=["empty", "garbage", "cut"])
@pytest.mark.parametrize("name", FILES)
def test_whatever_the_damage_it_is_done_without_or_named_with_its_remedy(
    home: Home, name: str, damage: bytes | None
) -> None:
    starts_or_says_why(home, name, damage)


def starts_or_says_why(home: Home, name: str, damage: bytes | None) -> None:
    node = home.spoilt(name, damage)
    (node.home / "node.log").unlink(missing_ok=True)
    home.swarm.start(node)
    try:
        home.swarm.wait_ready(30)
        node.client.get("/api/v1/objects")
        node.client.get("/api/v1/tasks")
    except StepFailedError:
        _, _, line = node.log_tail().rpartition("error: ")
        assert str(node.home / Path(name).parts[0]) in line
        assert any(remedy in line for remedy in REMEDIES), line
    finally:
        home.swarm.kill_machine(node)
    assert "Traceback" not in node.log_tail(), node.log_tail()
