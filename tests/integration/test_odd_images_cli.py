"""Images and environments with odd things in them, from the command line through a real node."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmnode.demo.launcher import LocalNode
from tests.conda_lab import make_prefix
from tests.image_lab import C, D, H, Item, P, S, layer, programs, saved
from tests.integration.swarm_lab import swarm_of
from tests.job_lab import needs_bwrap

pytestmark = needs_bwrap
BELOW = [
    Item("odd/\udcff\n", b"bytes"),
    Item("odd/locked", kind=D, mode=0),
    Item("odd/locked/f", b"in", mode=0),
    Item("odd/su", b"x", mode=0o6755),
    Item("odd/pipe", kind=P),
    Item("odd/device", kind=C),
    Item(f"odd/{'/'.join(['d' * 50] * 40)}/f", b"deep"),
    Item("odd/one", b"1"),
    Item("odd/two", kind=H, to="odd/one"),
    Item("odd/ -rf", b""),
    Item("odd/a=b:c,d", b""),
    Item("-x", b""),
    Item("sp ace", kind=D),
    Item("up", kind=S, to="../.."),
    Item(".dockerenv", b""),
    Item("root/.x", b"", mode=0),
]
ABOVE = [Item("odd/.wh.one"), Item("odd/new", b"n")]
LOOKS = (
    "cat /odd/locked/f /odd/two /odd/?? '/sp ace/a' 2>/dev/null; ls /odd | wc -l; ls /up/odd/new"
)
WRITES = "echo 3 > /odd/two; rm -r '/odd/ -rf' /odd/locked; echo > '/sp ace/a'; chmod 0 /odd /root"


@pytest.fixture(scope="module")
def node() -> Iterator[LocalNode]:
    with swarm_of(1, STORAGE__MIN_FREE_GIB="1") as swarm:
        yield swarm.nodes[0]


def run(node: LocalNode, folder: Path, image: Path, script: str) -> tuple[int, str, str]:
    folder.mkdir(exist_ok=True)
    words = ("run", "--env", str(image), "--", "sh", "-c", script)
    done = subprocess.run(
        [sys.executable, "-m", "swarmnode.cli.main", *words],
        env={**os.environ, "SWARM_API": str(node.client.socket_path), "HOME": str(folder.parent)},
        capture_output=True, text=True, timeout=120, check=False, cwd=folder, errors="replace",
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_an_odd_image_is_seen_the_same_by_each_task_whatever_the_one_before_did(
    node: LocalNode, tmp_path: Path
) -> None:
    tools = programs("sh", "ls", "cat", "chmod", "rm", "wc")
    saved(tmp_path / "odd.tar", [layer(*tools, *BELOW), layer(*ABOVE)])
    for _ in range(2):
        script = f"{LOOKS}; {WRITES}"
        code, out, err = run(node, tmp_path / "p", tmp_path / "odd.tar", script)
        # A name with a line's end is two lines; `one`, the pipe and the device are not there.
        assert (code, out.split()) == (0, ["in1xbytes9", "/up/odd/new"]), (out, err)


def test_an_odd_environment_of_conda_is_laid_out(node: LocalNode, tmp_path: Path) -> None:
    prefix = make_prefix(tmp_path / "c")
    os.mkfifo(prefix / "conda-meta/a.json")
    (prefix / "bin/\udcff").write_text("x")
    (prefix / "ring").symlink_to("ring")
    (prefix / "out").symlink_to("/etc/passwd")
    script = 'cd "$CONDA_PREFIX" && cat bin/? && ls -d ring out conda-meta/a.json'
    code, out, err = run(node, tmp_path / "p", prefix, script)
    assert (code, out) == (2, "xring\n"), err
    assert "a link leads out and is left: '/env/out'" in err
