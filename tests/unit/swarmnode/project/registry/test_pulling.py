"""An image of a registry on this machine: what its name means, and how it comes."""

import json
from pathlib import Path

import pytest

from swarmnode.errors import ProjectError
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
    index_on,
    looked,
    manifest_on,
    registry,
    settings_for,
)


@pytest.mark.parametrize("family", [OCI, DOCKER])
def test_an_image_comes_whole_and_has_the_name_that_an_archive_of_it_has(
    tmp_path: Path, family: str
) -> None:
    shelf, settings = Shelf(), settings_for(LAYERS)
    image_on(shelf, "x", PACKED, settings, family=family)
    with registry(shelf) as address:
        assert fetched(tmp_path, address) == digest_of(settings)
    assert not list(tmp_path.glob("*/blobs")), "what was sent on is not kept"


@pytest.mark.parametrize("family", [OCI, DOCKER])
def test_of_an_index_the_image_for_this_kind_of_machine_is_taken(
    tmp_path: Path, family: str
) -> None:
    shelf, settings = Shelf(), settings_for(LAYERS)
    other = image_on(shelf, "x", PACKED, settings_for(LAYERS, "s390x"), tag="o")
    ours = image_on(shelf, "x", PACKED, settings, tag="u", family=family)
    whole = index_on(shelf, {"s390x": other, ARCHITECTURE: ours}, "1", family)
    index_on(shelf, {"s390x": other}, "2")
    with registry(shelf) as address:
        image, _, _ = looked(tmp_path, address)
        assert (image.digest, image.told) == (digest_of(settings), whole)
        with pytest.raises(ProjectError, match=rf"not there for {MACHINE}, only for linux/s390x"):
            looked(tmp_path, address, "x:2")
        with pytest.raises(ProjectError, match="is for linux/s390x, not for"):
            looked(tmp_path, address, "x:o")


def test_of_an_index_in_an_index_the_image_is_taken_and_no_note_about_it(tmp_path: Path) -> None:
    """As builders write them that add how an image was made."""
    shelf, settings = Shelf(), settings_for(LAYERS)
    note = image_on(shelf, "x", PACKED, b"{}", tag="n")
    ours = image_on(shelf, "x", PACKED, settings, tag="u")
    inner = index_on(shelf, {"unknown": note, "": note, ARCHITECTURE: ours}, "i")
    index_on(shelf, {"unknown": note, "s390x": note, ARCHITECTURE: inner}, "1")
    unsaid = {"manifests": [{"digest": ours, "size": 1}]}
    manifest_on(shelf, f"{OCI}.index.v1+json", json.dumps(unsaid).encode(), "2")
    with registry(shelf) as address:
        for tag in ("1", "2"):
            assert looked(tmp_path, address, f"x:{tag}")[0].digest == digest_of(settings)
        asked = next(headers["Accept"] for _, path, headers in shelf.asked if "manifests" in path)
        assert "image.index.v1+json" in asked
        assert "manifest.list.v2+json" in asked


def test_what_a_tag_means_is_asked_again_and_nothing_else_is(tmp_path: Path) -> None:
    shelf = Shelf()
    first = image_on(shelf, "x", PACKED, settings_for(LAYERS))
    with registry(shelf) as address:
        looked(tmp_path, address)
        shelf.asked.clear()
        image, _, _ = looked(tmp_path, address)
        assert shelf.paths("/x/") == ["HEAD /v2/x/manifests/1"]
        assert image.told == first
        moved = image_on(shelf, "x", PACKED, settings_for(LAYERS, mark="new"))
        assert looked(tmp_path, address)[0].told == moved
    pinned = looked(tmp_path, address, f"x@{first}")[0]  # nobody is there any more
    assert pinned.told == first


def test_a_registry_that_says_no_digest_is_read_instead(tmp_path: Path) -> None:
    shelf = Shelf(says_digests=False)
    told = image_on(shelf, "x", PACKED, settings_for(LAYERS))
    with registry(shelf) as address:
        assert looked(tmp_path, address)[0].told == told


@pytest.mark.parametrize("has_ranges", [True, False])
def test_a_pull_that_is_cut_goes_on_where_it_was(tmp_path: Path, has_ranges: bool) -> None:
    shelf = Shelf(cuts=3, has_ranges=has_ranges)
    image_on(shelf, "x", PACKED, settings_for(LAYERS))
    with registry(shelf) as address:
        fetched(tmp_path, address)
    ranges = [headers["Range"] for _, _, headers in shelf.asked if "Range" in headers]
    assert ranges


def test_the_next_command_goes_on_where_one_has_ended(tmp_path: Path) -> None:
    shelf = Shelf()
    image_on(shelf, "x", PACKED, settings_for(LAYERS))
    with registry(shelf) as address:
        shelf.cuts = 1000
        with pytest.raises(ProjectError, match="the same command goes on where it ended"):
            fetched(tmp_path, address)
        part = next(tmp_path.glob("*/blobs/sha256/*.part"))
        assert part.stat().st_size
        shelf.cuts = 0
        shelf.asked.clear()
        fetched(tmp_path, address)
        assert any("Range" in headers for _, _, headers in shelf.asked)


def test_what_an_earlier_command_left_wrong_is_fetched_anew(tmp_path: Path) -> None:
    shelf = Shelf()
    image_on(shelf, "x", PACKED, settings_for(LAYERS))
    with registry(shelf) as address:
        image, _, _ = looked(tmp_path, address)
        blobs = tmp_path / image.settings.digits / "blobs/sha256"
        blobs.mkdir(parents=True)
        (blobs / f"{image.layers[0].digits}.part").write_bytes(b"x" * 100)
        (blobs / f"{image.layers[1].digits}.part").write_bytes(b"x" * 99999)
        fetched(tmp_path, address)


def test_of_several_for_one_kind_of_machine_the_one_for_most_is_taken(tmp_path: Path) -> None:
    shelf = Shelf()
    marks = {"": "plain", "/v1": "one", "/v2": "two", "/v4": "four"}
    made = {
        variant: image_on(shelf, "x", PACKED, settings_for(LAYERS, mark=mark), tag=mark)
        for variant, mark in marks.items()
    }
    others = {f"{ARCHITECTURE}{variant}": made[variant] for variant in ("/v4", "/v2", "/v1")}
    index_on(shelf, others, "1")
    many = {f"other{number}": made[""] for number in range(500)}
    index_on(shelf, {**many, **others, ARCHITECTURE: made[""]}, "2")
    with registry(shelf) as address:
        for tag, mark in (("1", "one"), ("2", "plain")):
            image, _, _ = looked(tmp_path, address, f"x:{tag}")
            assert image.digest == digest_of(settings_for(LAYERS, mark=mark))
