"""What a registry gives that is no image, or not what was asked for: it is said in words."""

import json
import os
from pathlib import Path

import pytest

from swarmnode.errors import ProjectError
from swarmnode.project.registry.client import Registry
from swarmnode.project.registry.layers import brought
from swarmnode.project.registry.logins import Login
from swarmnode.project.registry.pull import Documents
from swarmnode.project.registry.reference import reference_of
from tests.image_lab import ARCHITECTURE
from tests.registry_lab import (
    DOCKER,
    LAYERS,
    MACHINE,
    OCI,
    PACKED,
    Shelf,
    digest_of,
    fetched,
    image_on,
    looked,
    manifest_on,
    registry,
    settings_for,
)


def test_other_bytes_than_their_digest_says_are_refused(tmp_path: Path) -> None:
    settings = settings_for(LAYERS)
    for number, lie in enumerate((digest_of(PACKED[0]), digest_of(settings), "manifest")):
        shelf = Shelf()
        told = image_on(shelf, "x", PACKED, settings)
        if lie == "manifest":
            shelf.manifests[told] = ("x", b"{}")
        else:
            shelf.blobs[lie] = shelf.blobs[lie][:-1] + b"x"
        with (
            registry(shelf) as address,
            pytest.raises(ProjectError, match="gives other bytes than"),
        ):
            fetched(tmp_path / str(number), address)


DOCUMENTS = {
    "version 1": ({"schemaVersion": 1}, "today's format"),
    "a chart": (
        {"config": {"mediaType": "application/vnd.cncf.helm", "digest": digest_of(b"")},
         "layers": []},
        "no image, but 'application/vnd.cncf.helm'",
    ),
    "too many layers": (
        {
            "config": {"mediaType": f"{OCI}.config.v1+json", "digest": digest_of(b""), "size": 0},
            "layers": [{"digest": digest_of(b""), "size": 0}] * 257,
        },
        "257 layers",
    ),
    "too large": (
        {
            "config": {"mediaType": f"{OCI}.config.v1+json", "digest": digest_of(b""), "size": 0},
            "layers": [{"digest": digest_of(b""), "size": 1 << 40}],
        },
        "more than 64 GiB",
    ),
    "encrypted": (
        {
            "config": {"mediaType": f"{OCI}.config.v1+json", "digest": digest_of(b""), "size": 0},
            "layers": [{"digest": digest_of(b""), "mediaType": "x+encrypted"}],
        },
        "is encrypted",
    ),
    "a digest that is a path": ({"config": {"digest": "sha256:../../x"}, "layers": []}, "no image"),
    "no digest known": ({"config": {"digest": "sha512:00"}, "layers": []}, "no image"),
    "a size below nothing": (
        {"config": {"digest": digest_of(b""), "size": -1}, "layers": []}, "no image"
    ),
    "words": ([1], "no image"),
}  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_is_no_image_is_refused_in_words(tmp_path: Path, name: str) -> None:
    document, why = DOCUMENTS[name]
    shelf = Shelf()
    manifest_on(shelf, f"{OCI}.manifest.v1+json", json.dumps(document).encode(), "1")
    with registry(shelf) as address, pytest.raises(ProjectError, match=why):
        looked(tmp_path, address)


def test_documents_without_end_are_refused(tmp_path: Path) -> None:
    shelf = Shelf()
    manifest_on(shelf, "x", b'{"manifests":' * 100_000, "1")
    manifest_on(shelf, "x", b" " * (9 << 20), "2")
    ring = {"manifests": [{"digest": digest_of(b"1"), "platform": {"architecture": ARCHITECTURE}}]}
    manifest_on(shelf, "x", json.dumps(ring).encode(), "3")
    with registry(shelf) as address:
        for tag, why in (("1", "is no image"), ("2", "more than"), ("3", "has no")):
            with pytest.raises(ProjectError, match=why):
                looked(tmp_path, address, f"x:{tag}")


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (404, "has no x:1"),
        (403, "Either there is none"),
        (429, "too many requests"),
        (418, "answers 418"),
        (503, "answers 503"),
    ],
)
def test_what_a_registry_answers_is_said_in_words(tmp_path: Path, status: int, why: str) -> None:
    with registry(Shelf(answers=status)) as address, pytest.raises(ProjectError, match=why):
        looked(tmp_path, address)


def test_a_registry_that_is_not_there_is_named(tmp_path: Path) -> None:
    with registry(Shelf()) as address:
        pass
    with pytest.raises(ProjectError, match=f"{address} cannot be reached"):
        looked(tmp_path, address)


def test_nothing_is_written_through_links_that_a_repository_brought_along(tmp_path: Path) -> None:
    shelf, victim = Shelf(), tmp_path / "victim"
    image_on(shelf, "x", PACKED, settings_for(LAYERS))
    victim.write_text("mine")
    outside = tmp_path / "outside"
    outside.mkdir()
    with registry(shelf) as address:
        image, _, _ = looked(tmp_path / "0", address)
        below = f"{image.settings.digits}/blobs/sha256"
        links = (".lock", f"{below}/{image.layers[0].digits}.part", "documents", "", below)
        for number, name in enumerate(links, 1):
            folder = tmp_path / f"{number}"
            link = folder / name if name else folder
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(
                victim if link.suffix in (".lock", ".part") or name == ".lock" else outside
            )
            with pytest.raises(ProjectError):
                fetched(folder, address)
            assert victim.read_text() == "mine", name
            assert not list(outside.iterdir()), name


def test_a_layer_that_a_registry_has_not_is_told_from_an_image_that_it_has_not(
    tmp_path: Path,
) -> None:
    shelf = Shelf()
    image_on(shelf, "x", PACKED, settings_for(LAYERS))
    with registry(shelf) as address:
        looked(tmp_path, address)
        del shelf.blobs[digest_of(PACKED[1])]
        with pytest.raises(ProjectError, match=f"{address} has not all of x:1"):
            fetched(tmp_path, address)


@pytest.mark.parametrize("part", ["manifests", "blobs", "token"])
def test_a_registry_that_says_when_is_waited_for(tmp_path: Path, part: str) -> None:
    shelf, waits = Shelf(gives_tokens=True, busy={part: 2}, again_in="7"), list[float]()
    image_on(shelf, "x", PACKED, settings_for(LAYERS))
    with registry(shelf) as address:
        reference = reference_of(f"docker://{address}/x:1")
        asked = Registry(reference, Login())
        documents = Documents(reference, asked, tmp_path, wait=waits.append)
        image = documents.look(MACHINE)
        shelf.busy = {"blobs": 1}
        with brought(image, asked, documents, lambda size: None, wait=waits.append):
            assert waits == [7, 7, 7]


@pytest.mark.parametrize("said", ["", "3600", "soon", "\u00b2", "9" * 30])
@pytest.mark.parametrize("part", ["manifests", "token"])
def test_a_registry_that_does_not_want_us_for_long_is_left_alone(
    tmp_path: Path, part: str, said: str
) -> None:
    shelf = Shelf(gives_tokens=True, busy={part: 9}, again_in=said)
    image_on(shelf, "x", PACKED, settings_for(LAYERS))
    with registry(shelf) as address, pytest.raises(ProjectError, match="too many requests"):
        looked(tmp_path, address)
    assert len(shelf.paths(part)) == 1


@pytest.mark.parametrize("says_digests", [True, False])
def test_an_image_of_the_first_format_is_told_as_one(tmp_path: Path, says_digests: bool) -> None:
    """What a registry says to be its digest is that of a part of its bytes."""
    shelf = Shelf(says_digests=says_digests)
    kind = f"{DOCKER}.distribution.manifest.v1+prettyjws"
    data = b'{"schemaVersion": 1, "fsLayers": []}'
    told = manifest_on(shelf, kind, data, "1")
    shelf.manifests[told] = (kind, data + b" ")
    with registry(shelf) as address, pytest.raises(ProjectError, match="today's format"):
        looked(tmp_path, address)


def test_what_a_repository_brought_in_place_of_a_document_is_no_device(tmp_path: Path) -> None:
    shelf = Shelf()
    told = image_on(shelf, "x", PACKED, settings_for(LAYERS))
    documents = tmp_path / "documents"
    documents.mkdir()
    kept = documents / told.partition(":")[2]
    os.mkfifo(kept)
    with registry(shelf) as address:
        looked(tmp_path, address)
        assert kept.is_file()
        kept.unlink()
        kept.symlink_to("/dev/zero")
        looked(tmp_path, address)
        assert not kept.is_symlink()
