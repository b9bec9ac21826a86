"""A file is not read again while nothing of it has changed, and whenever that is not sure it is."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from swarmnode.cli.project.own import make_own
from swarmnode.project.seen import CLOCK_NS, NAME, SeenFiles, now_ns
from swarmnode.tree.scan import Found, scan

LATER_NS = 10 * CLOCK_NS


@pytest.fixture
def own(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "own").mkdir()
    (tmp_path / "files").mkdir()
    folder = os.open(tmp_path / "own", os.O_RDONLY)
    yield folder
    os.close(folder)


def look(tmp_path: Path) -> list[Found]:
    return [one for one in scan(str(tmp_path / "files")).found if one.parts]


def noted(own: int, tmp_path: Path, text: str = "one", read_ns: int | None = None) -> Found:
    """A file that was read long after it was written."""
    (tmp_path / "files" / "a").write_text(text)
    (file,) = look(tmp_path)
    read_ns = now_ns() + LATER_NS if read_ns is None else read_ns
    SeenFiles(own).write([file], [blake3(text.encode()).digest()], read_ns)
    return file


def test_what_was_read_is_known_while_nothing_of_it_changes(own: int, tmp_path: Path) -> None:
    file = noted(own, tmp_path)
    assert SeenFiles(own).hash_of(file) == blake3(b"one").digest()
    (tmp_path / "files" / "a").chmod(0o600)  # its time of change is another one
    (after,) = look(tmp_path)
    assert SeenFiles(own).hash_of(after) is None


def test_the_same_size_with_its_old_time_set_back_is_another_file(own: int, tmp_path: Path) -> None:
    file = noted(own, tmp_path)
    (tmp_path / "files" / "a").write_text("two")
    os.utime(tmp_path / "files" / "a", ns=(file.modified_ns, file.modified_ns))
    (after,) = look(tmp_path)
    assert (after.size, after.modified_ns) == (file.size, file.modified_ns)
    assert SeenFiles(own).hash_of(after) is None


def test_one_that_took_its_place_with_all_its_times_is_another_file(
    own: int, tmp_path: Path
) -> None:
    file = noted(own, tmp_path)
    (tmp_path / "files" / "b").write_text("two")
    (tmp_path / "files" / "b").rename(tmp_path / "files" / "a")
    (after,) = look(tmp_path)
    assert after.inode != file.inode
    assert SeenFiles(own).hash_of(after) is None


def test_what_was_written_just_before_it_was_read_is_read_again(own: int, tmp_path: Path) -> None:
    """A later write within the same tick of the clock would leave no trace."""
    file = noted(own, tmp_path, read_ns=now_ns())
    assert SeenFiles(own).hash_of(file) is None


@pytest.mark.parametrize("damage", ["cut", "bit", "other", "empty", "link", "folder", "others"])
def test_a_list_that_is_damaged_or_not_ours_says_nothing(
    own: int, tmp_path: Path, damage: str
) -> None:
    file = noted(own, tmp_path)
    place = tmp_path / "own" / NAME
    data = bytearray(place.read_bytes())
    if damage == "bit":
        data[len(data) // 2] ^= 1
    match damage:
        case "link":
            place.rename(tmp_path / "elsewhere")
            place.symlink_to(tmp_path / "elsewhere")
        case "folder":
            place.unlink()
            place.mkdir()
        case "others":
            place.chmod(0o666)
        case _:
            cuts = {"cut": data[:-5], "bit": data, "other": b"{}", "empty": b""}
            place.write_bytes(bytes(cuts[damage]))
    assert SeenFiles(own).hash_of(file) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_list_of_another_user_says_nothing(own: int, tmp_path: Path) -> None:
    file = noted(own, tmp_path)
    os.chown(tmp_path / "own" / NAME, 12345, 12345)
    assert SeenFiles(own).hash_of(file) is None


def test_the_list_is_not_written_again_when_it_says_the_same(own: int, tmp_path: Path) -> None:
    file = noted(own, tmp_path)
    before = (tmp_path / "own" / NAME).stat().st_ino
    SeenFiles(own).write([file], [blake3(b"one").digest()], now_ns() + LATER_NS)
    assert (tmp_path / "own" / NAME).stat().st_ino == before


def test_a_full_disk_leaves_no_folder_of_ours_that_git_would_take(tmp_path: Path) -> None:
    """A file that may not grow is refused as on a full disk, once it is there."""
    program = (
        "import resource, sys; from pathlib import Path; from swarmnode.cli.project.own import "
        "make_own; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); make_own(Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "File too large" in done.stderr
    make_own(tmp_path)
    assert (tmp_path / ".swarm/.gitignore").read_text() == "*\n"
