"""Secrets of tasks at real nodes: they come where they should, and lie nowhere else."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from swarmnode.demo.launcher import LocalNode
from swarmnode.demo.report import until
from tests.integration.swarm_lab import log, submit, swarm_of, view, wait

TOKEN = b"tok-9fd2c1a7e8b6405d-with-more-than-enough-bytes"
FILE = bytes(range(256)) * 16 + b"the end of a binary key \x00\xff"
READS = (
    'printf "%s" "$HF_TOKEN" | sha256sum; sha256sum < /run/secrets/key; '
    "sha256sum < /run/secrets/hf; sha256sum < /run/secrets/id; stat -c '%a %U' /run/secrets/hf"
)

STAYS = "; echo ready; trap 'exit 0' USR1; while :; do sleep 0.1; done"


def swarm(node: LocalNode, *words: str, value: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "swarmnode.cli.entry", *words],
        env=node.environ,
        input=value,
        capture_output=True,
        timeout=60,
        check=False,
    )


def set_secret(node: LocalNode, name: str, value: bytes) -> None:
    done = swarm(node, "secret", "set", name, value=value)
    assert done.returncode == 0, done.stderr


def written(path: Path) -> bytes:
    """What was ever written of it: tables are files with holes of gigabytes."""
    pieces, at = [], 0
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:  # a hole to the end
                break
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            pieces.append(os.pread(file.fileno(), end - at, at))
            at = end
    return b"".join(pieces)


def found_in(places: list[Path], needles: list[bytes]) -> list[str]:
    """Files below the places that hold one of these."""
    found = []
    for place in places:
        for path in (p for p in place.rglob("*") if p.is_file() and not p.is_symlink()):
            with contextlib.suppress(FileNotFoundError):
                data = written(path)
                found += [str(path) for needle in needles if needle in data]
    return found


def in_argv(needles: list[bytes]) -> list[str]:
    """Processes that show one of these to everybody."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                text = (entry / "cmdline").read_bytes()
                found += [entry.name for needle in needles if needle in text]
    return found


def end(node: LocalNode, task: str) -> None:
    node.client.call("POST", f"/api/v1/tasks/{task}/signal", {"signal": "USR1"})
    assert wait(node, task)["state"] == "done"


def runs(node: LocalNode, task: str) -> None:
    until(lambda: view(node, task)["state"] == "running", within_s=30, what="it runs")


def sha(value: bytes) -> str:
    import hashlib

    return hashlib.sha256(value).hexdigest()


def test_secrets_come_as_variables_and_files_and_lie_nowhere_else(tmp_path: Path) -> None:
    with swarm_of(3) as pool:
        mine, other, _ = pool.nodes
        set_secret(mine, "hf", TOKEN)
        file = tmp_path / "key"
        file.write_bytes(FILE)
        done = swarm(mine, "secret", "set", "key", "--from", str(file))
        assert done.returncode == 0, done.stderr
        task = submit(
            mine,
            {
                "run": ["/bin/sh", "-c", READS + STAYS],
                "secrets": ["hf=HF_TOKEN", "key=/run/secrets/id"],
                "require": [other.peer],
            },
        )
        until(lambda: b"ready" in log(mine, task), within_s=30, what="it has read them")
        until(lambda: len(view(mine, task)["guardians"]) == 2, within_s=30, what="guardians")
        file.unlink()
        needles = [TOKEN, FILE[-40:]]
        assert found_in([pool.root], needles) == []
        assert in_argv(needles) == []
        shown = [swarm(mine, "task", what, task, "-o", "json") for what in ("show", "explain")]
        shown += [swarm(mine, "secret", "ls", "-o", "json"), swarm(mine, "status", "-o", "json")]
        assert all(done.returncode == 0 for done in shown), shown
        assert not [done for done in shown if any(needle in done.stdout for needle in needles)]
        end(mine, task)
        said = log(mine, task).decode().splitlines()
        sums = [line.split()[0] for line in said[:4]]
        assert sums == [sha(TOKEN), sha(FILE), sha(TOKEN), sha(FILE)], said
        assert said[4].startswith("400"), said
        assert found_in([pool.root], needles) == []
