"""Secrets of tasks at real nodes: they come where they should, and lie nowhere else."""

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

from swarmnode.demo.launcher import LocalNode, LocalSwarm
from swarmnode.demo.report import until
from tests.integration.swarm_lab import labs_of, log, submit, swarm_of, view, wait
from tests.integration.test_daemon_restarts import processes_of

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


def at_a_terminal(node: LocalNode, name: str, value: bytes, code: int = 0) -> bytes:
    """What somebody sees who sets a secret by hand."""
    child, terminal = pty.fork()
    if child == 0:
        words = [sys.executable, "-m", "swarmnode.cli.main", "secret", "set", name]
        os.execve(sys.executable, words, node.environ)
    seen = b""
    while b"not shown" not in seen:
        seen += os.read(terminal, 1024)
    os.write(terminal, value + b"\n")
    with contextlib.suppress(OSError):  # its other end is closed
        while piece := os.read(terminal, 1024):
            seen += piece
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code, seen
    os.close(terminal)
    return seen


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


def begins_with_secret(node: LocalNode, **more: object) -> str:
    """A task that says what it knows, and stays until it is told to end."""
    run = ["/bin/sh", "-c", 'printf "%s" "$hf" | sha256sum' + STAYS]
    task = submit(node, {"run": run, "secrets": ["hf"], **more})
    until(lambda: b"ready" in log(node, task), within_s=30, what="it has read it")
    return task


def test_what_runs_keeps_a_removed_secret_and_starts_nowhere_else() -> None:
    with swarm_of(2) as pool:
        mine, other = pool.nodes
        set_secret(mine, "hf", TOKEN)
        task = begins_with_secret(mine, require=[other.peer])
        pool.kill_daemon(other)
        pool.start(other)
        pool.wait_ready()
        end(mine, task)  # it had no need of them again
        assert sha(TOKEN).encode() in log(mine, task)
        assert found_in([pool.root], [TOKEN]) == []

        task = begins_with_secret(mine)
        assert swarm(mine, "secret", "rm", "hf").returncode == 0
        assert view(mine, task)["state"] == "running"
        where = view(mine, task)["provider"]
        pool.node_of(where).client.call("POST", "/api/v1/node/pause", {"grace_s": 0})
        ended = wait(mine, task)
        assert (ended["state"], ended["reason"]) == ("failed", "secret")
        assert "'hf'" in ended["detail"]
        again = swarm(mine, "task", "submit", "--secret", "hf", "--", "true")
        assert again.returncode == 5
        assert b"swarmnode secret set hf" in again.stderr
        assert len(mine.client.get("/api/v1/tasks")) == 2


def apart_from_its_guardians(pool: LocalSwarm, task: str) -> tuple[LocalNode, list[LocalNode]]:
    """Where a task of the first node runs, which is none of those that keep it."""
    mine = pool.nodes[0]
    until(lambda: len(view(mine, task)["guardians"]) == 2, within_s=30, what="guardians")
    guardians = [pool.node_of(peer) for peer in view(mine, task)["guardians"]]
    for node in guardians:
        node.client.call("POST", "/api/v1/node/pause", {"grace_s": 0})

    def elsewhere() -> bool:
        seen = view(mine, task)
        return seen["state"] == "running" and seen["provider"] not in seen["guardians"]

    until(elsewhere, within_s=30, what="it runs apart from its guardians")
    for node in guardians:
        node.client.call("POST", "/api/v1/node/resume")
    return pool.node_of(view(mine, task)["provider"]), guardians


def test_a_guardian_gives_the_secrets_to_the_next_machine() -> None:
    with swarm_of(4, TIMERS__ORPHAN_GRACE_S="4") as pool:
        mine = pool.nodes[0]
        set_secret(mine, "hf", TOKEN)
        task = begins_with_secret(mine, avoid=[mine.peer])
        provider, guardians = apart_from_its_guardians(pool, task)
        before = view(mine, task)["attempts"]
        pool.kill_machine(mine)
        pool.kill_machine(provider)
        until(
            lambda: any(processes_of(node.home / "tasks" / "jobs") for node in guardians),
            within_s=90,
            what="it begins again without its submitter",
        )
        pool.start(mine)
        until(lambda: pool.is_ready(mine), within_s=30, what="it is back")
        until(lambda: view(mine, task)["attempts"] > before, within_s=60, what="it knows of that")
        until(lambda: log(mine, task).count(b"ready") >= 2, within_s=60, what="its log came")
        said = log(mine, task)
        assert said.count(sha(TOKEN).encode()) == said.count(b"ready")
        assert found_in([pool.root], [TOKEN]) == []
        end(mine, task)


def test_machines_of_other_labs_get_none_unless_their_person_says_so() -> None:
    with labs_of(2) as pool:
        mine = pool.nodes[0]
        set_secret(mine, "hf", TOKEN)
        mine.client.call("POST", "/api/v1/node/pause", {"grace_s": 0})
        run = {"run": ["/bin/sh", "-c", 'printf "%s" "$hf" | sha256sum'], "secrets": ["hf"]}
        made = mine.client.call("POST", "/api/v1/tasks?detach=1", run)
        assert made["guardians"] == []
        assert "in its own lab" in made["note"]
        task = made["task"]
        until(lambda: "of another lab" in view(mine, task)["why"], within_s=30, what="refused")
        told = swarm(mine, "task", "explain", task).stdout.decode()
        assert "secrets of the task stay in yours" in told, told
        mine.client.call("POST", f"/api/v1/tasks/{task}/cancel")
        done = swarm(
            mine, "task", "submit", "--secret", "hf", "--secret-to", "lab-n1", "--", *run["run"]
        )
        assert done.stdout.split()[:1] == [sha(TOKEN).encode()], done.stderr
        assert found_in([pool.root], [TOKEN]) == []


def test_odd_values_come_as_they_are_or_are_refused() -> None:
    with swarm_of(1) as pool:
        (mine,) = pool.nodes
        largest = os.urandom(64 * 1024)
        set_secret(mine, "large", largest)
        set_secret(mine, "line", b"with its end\n")
        assert swarm(mine, "secret", "set", "none").returncode == 2
        assert swarm(mine, "secret", "set", "long", value=largest + b"x").returncode == 2
        assert swarm(mine, "secret", "set", "../up", value=b"x").returncode == 2
        assert swarm(mine, "secret", "set", "a", "--from", "/no/such/file").returncode != 0
        for typed in (("hf", "oops-a-value"), ("hf=oops-a-value",)):
            told = swarm(mine, "secret", "set", *typed)
            assert (told.returncode, b"oops" in told.stderr) == (2, False), told.stderr
        assert b"typed by hand" not in at_a_terminal(mine, "hand", b"typed by hand")
        key = b"-----BEGIN KEY-----\npasted\n-----END KEY-----"
        assert b"several lines came" in at_a_terminal(mine, "pasted", key, code=2)
        assert b"cuts lines off" in at_a_terminal(mine, "pasted", b"x" * 5000, code=2)
        assert b"is empty" in at_a_terminal(mine, "pasted", b"\x04", code=2)
        gone = swarm(mine, "secret", "rm", "nosuch")
        assert (gone.returncode, b"secret ls" in gone.stderr) == (5, True)
        shown = swarm(mine, "secret", "ls", "-o", "json").stdout
        assert {row["name"]: row["size"] for row in mine.client.get("/api/v1/secrets")} == {
            "hand": 13,
            "large": 65536,
            "line": 13,
        }
        assert b"with its end" not in shown
        bad = swarm(mine, "task", "submit", "--secret", "large", "--", "true")
        assert bad.returncode == 2
        assert b"NUL byte" in bad.stderr or b"\0" not in largest, bad.stderr
        reads = "sha256sum < /run/secrets/large; printf '%s' \"$line\" | od -c | head -1"
        done = swarm(
            mine,
            "task",
            "submit",
            "--secret",
            "large=/run/secrets/l",
            "--secret",
            "line",
            "--",
            "/bin/sh",
            "-c",
            reads,
        )
        assert done.stdout.split()[0] == sha(largest).encode(), done.stderr
        assert b"\\n" in done.stdout
