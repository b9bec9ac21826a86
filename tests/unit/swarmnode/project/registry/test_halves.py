"""What is left of an image that was being brought when its command was ended."""

import fcntl
import os
import time
from pathlib import Path

import pytest

from swarmnode.project.registry.layers import HALF_KEPT_S, drop_halves

NEW, OLD = "a" * 64, "b" * 64


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Of a project: two halves, one of them of long ago, and what else lies there."""
    folder = tmp_path / "images"
    for name in (NEW, OLD, "documents"):
        (folder / name / "blobs").mkdir(parents=True)
        (folder / name / "blobs/x.part").write_text("half")
    then = time.time() - HALF_KEPT_S - 60
    for path in (*(folder / OLD).rglob("*"), folder / OLD, folder / "documents"):
        os.utime(path, (then, then))
    return folder


def there(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}


def test_a_half_that_nobody_went_on_with_for_a_week_goes(images: Path) -> None:
    drop_halves(images)
    assert there(images) == {NEW, "documents"}
    drop_halves(images / "nothing")


def test_one_of_which_something_came_since_stays(images: Path) -> None:
    (images / OLD / "blobs/y.part").write_text("more")
    drop_halves(images)
    assert OLD in there(images)


def test_nothing_goes_while_something_is_fetched(images: Path) -> None:
    with open(images / ".lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        drop_halves(images)
    assert OLD in there(images)


def test_nothing_goes_where_a_link_leads(images: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(images)
    drop_halves(tmp_path / "link")
    images.rename(tmp_path / "elsewhere")
    images.mkdir()
    (images / OLD).symlink_to(tmp_path / "elsewhere" / OLD)
    then = time.time() - HALF_KEPT_S - 60
    os.utime(images / OLD, (then, then), follow_symlinks=False)
    drop_halves(images)
    assert OLD in there(tmp_path / "elsewhere")
