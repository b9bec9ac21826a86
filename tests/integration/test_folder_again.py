"""A folder that is put again sends what is new of it, through three real nodes."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.env.pool import sent_at_rest
from swarmnode.demo.launcher import LocalNode, LocalSwarm
from tests.integration.swarm_lab import swarm_of
from tests.tree_lab import listing

FILES = 200
FILE_BYTES = 10 * 1024
HASH = "cat src/* | sha256sum"


@pytest.fixture(scope="module")
def swarm() -> Iterator[LocalSwarm]:
    with swarm_of(3, STORAGE__MIN_FREE_GIB="0.2") as made:
        yield made


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder, dice = tmp_path / "digits", random.Random(str(tmp_path))
    (folder / "src").mkdir(parents=True)
    for number in range(FILES):
        (folder / "src" / f"{number:03}").write_bytes(dice.randbytes(FILE_BYTES))
    return folder


def cli(node: LocalNode, cwd: Path, *words: str, code: int = 0) -> str:
    environ = {**os.environ, "SWARM_API": str(node.client.socket_path), "HOME": "/nonexistent"}
    command = [sys.executable, "-m", "swarmnode.cli.main", *words]
    done = subprocess.run(
        command, env=environ, cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stdout


def hashed(project: Path) -> str:
    total = hashlib.sha256()
    for file in sorted((project / "src").iterdir()):
        total.update(file.read_bytes())
    return f"{total.hexdigest()}  -\n"


def objects(node: LocalNode, kind: str = "") -> list[dict[str, object]]:
    found = node.client.get("/api/v1/objects")
    return [row for row in found if row["kind"] == kind]


def test_of_a_project_that_runs_again_only_what_is_new_is_sent(
    swarm: LocalSwarm, project: Path
) -> None:
    node, before = swarm.nodes[0], len(objects(swarm.nodes[0], "input"))
    assert cli(node, project, "run", "-n", "--", "sh", "-c", HASH) == hashed(project)
    at_rest = sent_at_rest(swarm)
    assert cli(node, project, "run", "-n", "--", "sh", "-c", HASH) == hashed(project)
    assert sent_at_rest(swarm) - at_rest < 500_000
    assert len(objects(node, "input")) == before + 1, "it is the same object"
    (project / "src" / "100").write_bytes(b"new")
    (project / "src" / "7").unlink(missing_ok=True)
    (project / "src" / "extra").write_bytes(b"more")
    at_rest = sent_at_rest(swarm)
    assert cli(node, project, "run", "-n", "--", "sh", "-c", HASH) == hashed(project)
    assert sent_at_rest(swarm) - at_rest < 500_000, "two megabytes lie in it, on three machines"
    assert len(objects(node, "input")) == before + 2
    assert not objects(node, "pack")


def test_a_file_that_was_changed_with_its_size_and_time_kept_is_sent(
    swarm: LocalSwarm, project: Path
) -> None:
    node, file = swarm.nodes[0], project / "src" / "100"
    assert cli(node, project, "run", "-n", "--", "sh", "-c", HASH) == hashed(project)
    info = file.stat()
    file.write_bytes(bytes(FILE_BYTES))
    os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert cli(node, project, "run", "-n", "--", "sh", "-c", HASH) == hashed(project)


def test_what_two_folders_share_stays_until_the_last_of_them_goes(
    swarm: LocalSwarm, project: Path, tmp_path: Path
) -> None:
    node, other = swarm.nodes[0], swarm.nodes[2]
    first = cli(node, tmp_path, "obj", "put", "digits").strip()
    (project / "src" / "100").write_bytes(b"new")
    second = cli(node, tmp_path, "obj", "put", "digits").strip()
    stored = stored_bytes(node)
    assert stored < 3 * (FILES * FILE_BYTES + 200_000), "what both have is there once"
    cli(node, tmp_path, "obj", "rm", first)
    node_again(swarm, node)
    stat = json.loads(cli(node, tmp_path, "obj", "stat", second, "-o", "json"))
    assert (stat["health"], stat["survives"]) == ("whole", "any 2 machines")
    assert stat["size"] == (FILES - 1) * FILE_BYTES + 3
    cli(other, tmp_path, "obj", "get", second, "back")
    assert listing(tmp_path / "back") == listing(project)
    cli(node, tmp_path, "obj", "rm", second)
    assert stored_bytes(node) == 0
    cli(swarm.nodes[1], tmp_path, "obj", "get", second, "gone", code=5)


def stored_bytes(node: LocalNode) -> int:
    rows = node.client.get("/api/v1/costs")
    return sum(row["stored"] for row in rows if row["kind"] in ("", "unfinished"))


def node_again(swarm: LocalSwarm, node: LocalNode) -> None:
    """Killed, and started again."""
    assert node.process is not None
    node.process.send_signal(signal.SIGKILL)
    node.process.wait()
    swarm.start(node)
    swarm.wait_ready(30)


def test_two_runs_that_send_one_folder_at_once_both_have_it(
    swarm: LocalSwarm, project: Path
) -> None:
    (project / "src" / "100").write_bytes(b"never sent before")
    (project / ".swarmignore").write_text(".*\n")
    with ThreadPoolExecutor() as pool:
        words = ("run", "-n", "--", "sh", "-c", HASH)
        runs = [pool.submit(cli, swarm.nodes[0], project, *words) for _ in range(3)]
        assert [run.result() for run in runs] == [hashed(project)] * 3
    (project / "src" / "100").write_bytes(b"new, with hidden names left out")
    assert cli(swarm.nodes[0], project, *words) == hashed(project)
