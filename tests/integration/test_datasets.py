"""Datasets through real nodes, as a person has them: `--data` to the bytes in the sandbox."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmnode.demo.launcher import LocalNode
from swarmnode.demo.report import until
from tests.data_lab import has_fuse, needs_fuse_reason
from tests.integration.swarm_lab import log, put, submit, swarm_of, wait
from tests.job_lab import MIB

pytestmark = pytest.mark.skipif(not has_fuse(), reason=needs_fuse_reason)
DATA = random.Random(3).randbytes(20 * MIB + 77)


@pytest.fixture(scope="module")
def node() -> Iterator[LocalNode]:
    with swarm_of(1, STORAGE__MIN_FREE_GIB="1") as swarm:
        yield swarm.nodes[0]


def swarm_says(node: LocalNode, cwd: Path, *words: str, code: int = 0) -> tuple[str, str]:
    """What a command prints: stdout and stderr; it must end with the code."""
    env = {**os.environ, "SWARM_API": str(node.client.socket_path), "HOME": "/nonexistent"}
    command = [sys.executable, "-m", "swarmnode.cli.main", *words]
    done = subprocess.run(
        command,
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def test_a_folder_a_name_and_a_capability_are_seen_where_they_were_asked_for(
    node: LocalNode, tmp_path: Path
) -> None:
    (tmp_path / "set" / "train").mkdir(parents=True)
    odd = os.fsdecode(b"a b\xff\n")
    (tmp_path / "set" / "train" / odd).write_bytes(DATA[:MIB])
    (tmp_path / "set" / "link").symlink_to("train")
    (tmp_path / "set" / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "set" / "run.sh").chmod(0o755)
    put(node, DATA, name="numbers")
    cap = put(node, DATA[:100], name="other")["cap"]
    script = (
        "sha256sum < /data/n.bin; cat /x/link/a* | sha256sum; /x/run.sh; wc -c < sub/o; "
        "rm -f /data/n.bin || echo ro"
    )
    asked = ("--data", "set=/x", "--data", "numbers=/data/n.bin", "--data", f"{cap}=sub/o")
    words = ("task", "submit", "--name", "seen", *asked, "--", "sh", "-c", script)
    out, _ = swarm_says(node, tmp_path, *words)
    lines = [line.split()[0] for line in out.splitlines()]
    digests = [hashlib.sha256(data).hexdigest() for data in (DATA, DATA[:MIB])]
    assert lines == [*digests, "ran", "100", "ro"]
    shown, _ = swarm_says(node, tmp_path, "task", "show", "seen", "-o", "json")
    assert set(json.loads(shown)["spec"]["data"]) == {"/x", "/data/n.bin", "sub/o"}
    assert cap not in shown


def test_what_cannot_be_shown_there_is_refused_before_anything_is_stored(
    node: LocalNode, tmp_path: Path
) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "x").write_bytes(b"never stored, 4711")
    before = len(node.client.get("/api/v1/objects"))
    for target, why in (
        ("/usr/share/d", "/usr is the task's own"),
        ("/work", "the task's own files"),
        ("/a/../b", "no path"),
        ("../up", "not a name"),
        ("/data,/data/sub", "would lie in"),
    ):
        asked = [word for one in target.split(",") for word in ("--data", f"set={one}")]
        words = ("task", "submit", *asked, "--", "true")
        assert why in swarm_says(node, tmp_path, *words, code=2)[1]
    words = ("task", "submit", "--data", "nothing=/d", "--", "true")
    assert "no object of yours is called that" in swarm_says(node, tmp_path, *words, code=2)[1]
    assert len(node.client.get("/api/v1/objects")) == before


def test_the_same_folder_is_put_once_and_stays(node: LocalNode, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "x").write_bytes(b"once")
    for _ in range(2):
        words = ("task", "submit", "--data", "again=/d", "--", "cat", "/d/x")
        assert swarm_says(node, tmp_path, *words)[0] == "once"
    named = [row for row in node.client.get("/api/v1/objects") if row["name"] == "again"]
    assert [row["kind"] for row in named] == [""]


READ = """
import hashlib, time
digest = hashlib.sha256()
with open("/d", "rb") as file:
    while piece := file.read(1 << 20):
        digest.update(piece)
        print("read", flush=True)
        time.sleep(0.05)
print(digest.hexdigest())
"""


def test_a_reader_outlives_its_source_and_its_node_and_the_next_task_needs_neither(
    tmp_path: Path,
) -> None:
    data = random.Random(4).randbytes(64 * MIB)
    with swarm_of(1, STORAGE__MIN_FREE_GIB="1") as swarm:
        (source,) = swarm.nodes
        node = swarm.add("reader", STORAGE__ENABLED="false")
        swarm.start(node)
        swarm.wait_ready(60)
        cap = put(source, data)["cap"]
        spec = {"run": ["python3", "-c", READ], "data": {"/d": cap}, "require": [node.peer]}
        task = submit(node, {**spec, "shape": {"mem": "256M"}})
        until(lambda: b"read" in log(node, task), within_s=60, what="the first bytes")
        assert source.process is not None
        source.process.send_signal(signal.SIGSTOP)
        swarm.kill_daemon(node)
        source.process.send_signal(signal.SIGCONT)
        swarm.start(node)
        until(lambda: swarm.is_ready(node), within_s=60, what="the node is back")
        ended = wait(node, task, 120)
        assert ended["state"] == "done", log(node, task, "stderr")
        assert log(node, task).split()[-1].decode() == hashlib.sha256(data).hexdigest()
        swarm.kill_daemon(source)
        again = submit(node, {**spec, "name": "again"})
        assert wait(node, again, 60)["state"] == "done", log(node, again, "stderr")
        assert log(node, again).split()[-1].decode() == hashlib.sha256(data).hexdigest()
