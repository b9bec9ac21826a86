"""What names an image on this machine, in files that somebody hostile may have made."""

import gzip
import json
import os
import tarfile
from pathlib import Path

import pytest

from swarmnode.errors import ProjectError
from swarmnode.project.images.saved import image_at
from tests.image_lab import Item, layer, layout, saved, settings_of

LAYERS = [layer(Item("a", b"1"))]


def test_an_image_has_one_name_in_every_wrapping(tmp_path: Path) -> None:
    digest = saved(tmp_path / "a.tar", LAYERS)
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress((tmp_path / "a.tar").read_bytes()))
    layout(tmp_path / "c", LAYERS)
    with tarfile.open(tmp_path / "d.tar", "w") as tar:  # as podman's oci-archive
        tar.add(tmp_path / "c", ".")
    for name in ("a.tar", "b.tar.gz", "c", "d.tar"):
        assert image_at(tmp_path / name).digest == digest, name


def test_a_layout_names_nothing_beside_it_and_no_device(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(settings_of(LAYERS))
    folder = tmp_path / "layout"
    layout(folder, LAYERS)
    os.mkfifo(folder / "pipe")
    for name in ("../secret", "x/../../secret", str(tmp_path / "secret"), "pipe"):
        (folder / "manifest.json").write_text(json.dumps([{"Config": name}]))
        with pytest.raises(ProjectError, match="is no image"):
            image_at(folder)


def test_a_layout_with_links_that_lead_nowhere_is_named_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "layout"
    digest = layout(folder, LAYERS)
    (folder / "gone").symlink_to("nowhere")
    (folder / "ring").symlink_to("ring")
    assert image_at(folder).digest == digest


@pytest.mark.parametrize(
    "document",
    [
        b'{"manifests":' * 100_000, b"[]", b'{"manifests": ["x"]}', b'{"manifests": 1}', b"\xff",
        b'{"manifests": [{"digest": "sha256:../../../etc/passwd"}]}',
        b'{"manifests": [{"digest": "sha512:00"}]}',
        b'{"manifests": [{"digest": "sha256:%s", "platform": "x"}]}' % (b"0" * 64),
    ],
)  # fmt: skip
def test_a_document_that_is_not_as_it_should_be_is_told_in_words(
    tmp_path: Path, document: bytes
) -> None:
    layout(tmp_path / "layout", LAYERS)
    (tmp_path / "layout/index.json").write_bytes(document)
    with pytest.raises(ProjectError, match=r"layout (is no image|has no images)"):
        image_at(tmp_path / "layout")


def test_an_archive_with_sizes_that_none_can_have_is_told_in_words(tmp_path: Path) -> None:
    for field in (b"\x80" + b"\xff" * 11, b"-0000000010\0", b"9" * 11 + b"\0"):
        saved(tmp_path / "a.tar", LAYERS)
        archive = bytearray((tmp_path / "a.tar").read_bytes())
        archive[124:136] = field
        (tmp_path / "a.tar").write_bytes(archive)
        with pytest.raises(ProjectError, match=r"a\.tar is no image"):
            image_at(tmp_path / "a.tar")


def test_the_image_for_this_machine_is_taken_of_several(tmp_path: Path) -> None:
    digest = layout(tmp_path / "layout", LAYERS)
    other = tmp_path / "other"
    layout(other, LAYERS, settings_of(LAYERS, machine="s390x"))
    for blob in (other / "blobs/sha256").iterdir():
        blob.rename(tmp_path / "layout/blobs/sha256" / blob.name)
    named = [
        json.loads((tmp_path / name / "index.json").read_text()) for name in ("layout", "other")
    ]
    both = [each for one in named for each in one["manifests"]]
    (tmp_path / "layout/index.json").write_text(json.dumps({"manifests": both}))
    assert image_at(tmp_path / "layout").digest == digest
    again = settings_of(LAYERS, ["A=1"])
    layout(tmp_path / "third", LAYERS, again)
    for blob in (tmp_path / "third/blobs/sha256").iterdir():
        blob.rename(tmp_path / "layout/blobs/sha256" / blob.name)
    both += json.loads((tmp_path / "third/index.json").read_text())["manifests"]
    (tmp_path / "layout/index.json").write_text(json.dumps({"manifests": both}))
    with pytest.raises(ProjectError, match="has 2 images for"):
        image_at(tmp_path / "layout")
