"""A project's command in an image of its own: no docker, unpacked once, nothing of the machine."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmnode.demo.launcher import LocalSwarm
from tests.image_lab import H, Item, layer, layout, programs, saved, settings_of
from tests.integration.swarm_lab import swarm_of
from tests.projects.test_packages_of_a_project import swarm


@pytest.fixture(scope="module")
def pool() -> Iterator[LocalSwarm]:
    with swarm_of(1, STORAGE__MIN_FREE_GIB="1") as pool:
        yield pool


LOOKS = """
echo "$GREETING from $(cat /opt/words) in $PWD"
cat input.txt
test -e /usr/bin/python3 || echo no python of the machine
for place in /usr/new /opt/words /etc/new /new; do
  (echo evil > $place) 2>/dev/null && echo "$place was written"
done
echo made > /work/made && echo made > /tmp/made
exit 0
"""


def test_a_command_runs_in_a_saved_image_which_is_unpacked_once(
    pool: LocalSwarm, tmp_path: Path
) -> None:
    node, folder = pool.nodes[0], tmp_path / "project"
    folder.mkdir()
    (folder / "look.sh").write_text(LOOKS)
    (folder / "input.txt").write_text("the project's\n")
    layers = [layer(*programs("sh", "cat")), layer(Item("opt/words", b"the image\n"))]
    settings = settings_of(layers, ["GREETING=hello", "PATH=/bin", "HOME=/root"])
    saved(tmp_path / "lab.tar", layers, settings)
    told = "hello from the image in /work\nthe project's\nno python of the machine\n"

    out, said = swarm(node, folder, "run", "--env", "../lab.tar", "--", "sh", "look.sh")
    assert out == told, said
    assert "image lab.tar, " in said
    assert "unpacked: " in said

    began = time.monotonic()
    out, said = swarm(node, folder, "run", "--env", "../lab.tar", "--", "sh", "look.sh")
    assert (out, "unpacked" in said) == (told, False), said
    print(f"second run: {time.monotonic() - began:.2f} s")

    layout(tmp_path / "layout", layers, settings)
    out, said = swarm(node, folder, "run", "--env", "../layout", "--", "sh", "look.sh")
    assert (out, "unpacked" in said) == (told, False), "the same image in another wrapping"

    out, _ = swarm(node, folder, "env", "ls", "-o", "jsonl")
    assert '"source": "lab.tar"' in out


def test_a_hostile_image_ends_its_build_with_the_reason(pool: LocalSwarm, tmp_path: Path) -> None:
    node, folder = pool.nodes[0], tmp_path / "project"
    folder.mkdir()
    evil = layer(Item("h", kind=H, to="../../../../etc/passwd"))
    saved(tmp_path / "evil.tar", [evil])
    _, said = swarm(node, folder, "run", "--env", "../evil.tar", "--", "sh", code=65)
    assert "the image is refused: a name leads out of the image" in said
    assert "the image evil.tar could not be unpacked" in said

    (tmp_path / "none.tar").write_bytes(os.urandom(2048))
    _, said = swarm(node, folder, "run", "--env", "../none.tar", "--", "sh", code=2)
    assert "none.tar is no image" in said
