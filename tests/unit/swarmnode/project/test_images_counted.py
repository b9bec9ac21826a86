"""An image with too many names is refused before it is sent, where that is certain."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from swarmnode.cli.client import Client
from swarmnode.cli.exits import USAGE, CliError
from swarmnode.cli.project.images import sent
from swarmnode.errors import ProjectError
from swarmnode.project.images.archive import FILE, header
from swarmnode.project.images.counting import check_names
from swarmnode.project.images.saved import image_of
from tests.image_lab import C, D, H, Item, S, layer, layout, saved

LONG = "/".join(["d" * 120] * 3)
MANY = [
    layer(Item("a/b", b"1" * 700), Item("a/c"), Item(f"{LONG}/x"), Item("gone/x"), Item("o/old")),
    bytes(10240),
    layer(Item(".wh.gone"), Item("o/.wh..wh..opq"), Item("o/new"), Item("l", kind=S, to="a")),
    layer(Item("tmp/x"), Item("n", kind=C), Item("h", kind=H, to="a/b"), Item("a", kind=D)),
]
COUNT = len(("a", "a/b", "a/c", "d", "d/d", "d/d/d", "d/d/d/x", "o", "o/new", "l", "h"))


def test_names_of_all_layers_are_counted_as_they_are_in_the_end(tmp_path: Path) -> None:
    of_archive = saved(tmp_path / "a.tar", MANY)
    of_layout = layout(tmp_path / "b", MANY, packed=False)
    for name, digest in (("a.tar", of_archive), ("b", of_layout)):
        check_names(tmp_path / name, digest, COUNT)
        with pytest.raises(ProjectError, match=rf"{name} has {COUNT} names .*limit {COUNT - 1}"):
            check_names(tmp_path / name, digest, COUNT - 1)


def test_long_names_and_links_as_gnu_tar_writes_them_are_counted_once(tmp_path: Path) -> None:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in (f"{LONG}/x", f"{LONG}/y"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, f"/{LONG}/z"
            tar.addfile(link)
    digest = saved(tmp_path / "a.tar", [held.getvalue()])
    check_names(tmp_path / "a.tar", digest, 5)
    with pytest.raises(ProjectError, match="has 5 names"):
        check_names(tmp_path / "a.tar", digest, 4)


def test_an_image_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    many = b"".join(header(FILE, b"%d/%d" % (number % 100, number)) for number in range(99_000))
    digest = saved(tmp_path / "a.tar", [many])
    image = image_of(tmp_path / "a.tar", digest, "x86_64")
    nobody = Client(tmp_path / "no.sock")
    with pytest.raises(CliError, match=r"99100 names .*limit 99000") as caught:
        sent(nobody, image)
    assert caught.value.exit_code == USAGE


def test_what_is_not_certain_is_left_to_whoever_unpacks_it(tmp_path: Path) -> None:
    for number, layers in enumerate((
        [layer(Item("l", kind=S, to="a"), Item("l/x"))],
        [layer(Item("a/../../x"))],
        [MANY[0][:700]],
        [gzip.compress(MANY[0])],
        [layer(Item("x", pax={"comment": "c" * (2 << 20)}))],
    )):  # fmt: skip
        path = tmp_path / f"{number}.tar"
        check_names(path, saved(path, layers), 0)
    digest = layout(tmp_path / "packed", MANY)
    check_names(tmp_path / "packed", digest, 0)
    digest = saved(tmp_path / "x.tar", MANY)
    (tmp_path / "whole.tar.gz").write_bytes(gzip.compress((tmp_path / "x.tar").read_bytes()))
    check_names(tmp_path / "whole.tar.gz", digest, 0)
    check_names(tmp_path / "x.tar", "sha256:" + "0" * 64, 0)
