"""Folders through real nodes, as a person has them: code in, results out, ten thousand files."""

import json
import os
import subprocess
import sys
from pathlib import Path

from swarmnode.demo.launcher import LocalNode
from swarmnode.demo.report import until
from tests.integration.swarm_lab import swarm_of, view
from tests.tree_lab import listing

SCRIPT = """\
set -e
test -x code/run.sh && test -L code/link && test -d code/empty && test "$(cat code/.env)" = K=1
test "$(cat './--odd= name')" = odd
mkdir -p results/deep && cp -a code/. results/
cp "$(printf 'code/\\377')" "$(printf 'results/deep/\\377')"
ln results/.env results/twin
echo done
"""


def cli(node: LocalNode, *arguments: str | bytes, cwd: Path, code: int = 0) -> bytes:
    """What a command prints; it must end with the code."""
    env = {**os.environ, "SWARM_API": str(node.client.socket_path)}
    command = [sys.executable, "-m", "swarmnode.cli.main", *arguments]
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, timeout=300, check=False)
    assert done.returncode == code, done.stderr.decode(errors="replace")
    return done.stdout


def a_project(folder: Path) -> Path:
    code = folder / "code"
    (code / "empty").mkdir(parents=True)
    (code / ".env").write_text("K=1")
    (code / "run.sh").write_text(SCRIPT)
    (code / "run.sh").chmod(0o755)
    (code / "link").symlink_to("run.sh")
    Path(os.fsdecode(os.fsencode(code) + b"/\xff")).write_bytes(b"\xff")
    for number in range(10_000):
        place = code / f"many/{number % 100}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}").write_bytes(b"%d" % number)
    return code


def test_a_folder_goes_in_as_it_is_and_its_results_come_back(tmp_path: Path) -> None:
    code = a_project(tmp_path)
    (tmp_path / "--odd= name").write_text("odd")
    (tmp_path / "twin").mkdir()
    with swarm_of(1, STORAGE__MIN_FREE_GIB="1") as swarm:
        (node,) = swarm.nodes
        out = cli(
            node, "task", "submit", "--disk", "2G", "--in", "code", "--in", "./--odd= name",
            "--out", "results", "-o", "json", "--", "code/run.sh", cwd=tmp_path,
        )  # fmt: skip
        detail = json.loads(out)
        (results,) = detail["outputs"]
        assert (results["name"], results["tree"]) == ("results", True)
        cli(node, "obj", "get", results["cap"], "results", cwd=tmp_path)
        wanted, got = listing(code), listing(tmp_path / "results")
        assert got.pop(b"twin") == wanted[b".env"]
        assert got.pop(b"deep")[0] == "folder"
        assert got.pop(b"deep/\xff")[2] == b"\xff"
        assert got == wanted


LONG = """\
mkdir -p ckpt/step-1 && echo one > ckpt/step-1/.metadata && ln ckpt/step-1/.metadata ckpt/step-1/w
echo so far > log.txt
python3 -c 'print("running")
import time
time.sleep(1000)'
"""


def test_a_cancelled_tasks_files_can_be_had_and_its_output_was_seen_at_once(tmp_path: Path) -> None:
    with swarm_of(2, STORAGE__MIN_FREE_GIB="1") as swarm:
        node = swarm.nodes[0]
        submit = ("task", "submit", "--detach", "--name", "a long name, to be cancelled")
        flags = ("--checkpoint", "ckpt", "--checkpoint-every", "1s", "--out", "*.txt", "--out", "x")
        task = cli(node, *submit, *flags, "--", "sh", "-c", LONG, cwd=tmp_path).decode().strip()
        env = {**os.environ, "SWARM_API": str(node.client.socket_path)}
        follow = [sys.executable, "-m", "swarmnode.cli.main", "task", "logs", "-f", task]
        with subprocess.Popen(follow, env=env, stdout=subprocess.PIPE) as ours:
            assert ours.stdout is not None
            assert ours.stdout.readline() == b"running\n"
            ours.stdout.close()
            assert ours.wait(20) == 141  # documented: whoever read our output went away
        until(lambda: bool(view(node, task)["checkpoints"]), within_s=60, what="a checkpoint")
        cli(node, "task", "get", task, "running", "--only", "checkpoints", cwd=tmp_path)
        assert (tmp_path / "running/checkpoints/ckpt/step-1/w").read_text() == "one\n"
        cli(node, "task", "get", task, "now", "--only", "outputs", cwd=tmp_path)
        assert (tmp_path / "now/outputs/log.txt").read_text() == "so far\n"
        cli(node, "task", "cancel", "a long name, to be cancelled", cwd=tmp_path)
        until(lambda: bool(view(node, task)["outputs"]), within_s=60, what="its outputs")
        cli(node, "task", "get", task, cwd=tmp_path)
        place = tmp_path / "a long name, to be cancelled"
        assert (place / "outputs/log.txt").read_text() == "so far\n"
        assert (place / "checkpoints/ckpt/step-1/.metadata").read_text() == "one\n"
        assert (place / "logs/stdout").read_text() == "running\n"
        cli(node, "task", "rm", task, cwd=tmp_path)
        cli(node, "task", "show", task, cwd=tmp_path, code=5)
