"""A project's command in an image of its own: no docker, unpacked once, nothing of the machine."""

import gzip
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmnode.demo.launcher import LocalSwarm
from tests.image_lab import H, Item, layer, layout, packed_by_zstd, programs, saved, settings_of
from tests.integration.swarm_lab import swarm_of
from tests.projects.test_packages_of_a_project import swarm
from tests.registry_lab import Shelf, image_on, registry


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


WRITTEN = "".join(f"{place} was written\n" for place in ("/usr/new", "/opt/words", "/etc/new"))
"""By each task anew: the next one sees the image as it was."""


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
    told = f"hello from the image in /work\nthe project's\nno python of the machine\n{WRITTEN}"

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


def test_a_command_runs_in_an_image_of_a_registry_which_is_fetched_once(
    pool: LocalSwarm, tmp_path: Path
) -> None:
    node, folder, shelf = pool.nodes[0], tmp_path / "project", Shelf(gives_tokens=True)
    folder.mkdir()
    (folder / "look.sh").write_text(LOOKS)
    (folder / "input.txt").write_text("the project's\n")
    layers = [layer(*programs("sh", "cat")), layer(Item("opt/words", b"a registry\n"))]
    settings = settings_of(layers, ["GREETING=hello", "PATH=/bin"])
    packed = [gzip.compress(layers[0], 1), packed_by_zstd(layers[1])]
    told = image_on(shelf, "team/lab", packed, settings)
    expected = f"hello from a registry in /work\nthe project's\nno python of the machine\n{WRITTEN}"
    with registry(shelf) as address:
        run = ("run", "--env", f"docker://{address}/team/lab:1", "--", "sh", "look.sh")
        out, said = swarm(node, folder, *run)
        assert out == expected, said
        assert f"image {address}/team/lab:1 ({told}), " in said
        assert "fetching docker://" in said

        shelf.asked.clear()
        began = time.monotonic()
        out, said = swarm(node, folder, *run)
        print(f"second run: {time.monotonic() - began:.2f} s")
        assert (out, "fetching" in said, "unpacked" in said) == (expected, False, False), said
        assert not shelf.paths("blobs")
        _, said = swarm(
            node, folder, "run", "--env", f"docker://{address}/team/none", "--", "sh", code=2
        )
        assert f"{address} has no team/none:latest" in said
    saved(tmp_path / "same.tar", layers, settings)
    out, said = swarm(node, folder, "run", "--env", "../same.tar", "--", "sh", "look.sh")
    assert (out, "unpacked" in said) == (expected, False), "the same image as an archive"
    assert not list((folder / ".swarm/images").glob("*/blobs")), "what was sent on is not kept"


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
