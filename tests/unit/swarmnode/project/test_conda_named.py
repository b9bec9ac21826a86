"""What names an environment of conda on this machine."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from swarmnode.errors import ProjectError
from swarmnode.project.images import conda
from swarmnode.project.images.conda import CondaPrefix, is_conda, pieces_of
from swarmnode.project.images.found import found_at
from swarmnode.project.images.notes import ImageNotes
from swarmnode.tasks.environments.naming import conda_lock
from tests.conda_lab import make_prefix, pack
from tests.image_lab import Item, layer, saved


def prefix_at(path: Path, folder: Path) -> CondaPrefix:
    folder.mkdir(exist_ok=True)
    found = found_at(path, ImageNotes(folder, lambda: folder))
    assert isinstance(found, CondaPrefix)
    return found


def test_a_folder_has_one_name_until_something_in_it_changes(tmp_path: Path) -> None:
    folder, notes = make_prefix(tmp_path / "p"), tmp_path / "notes"
    first = prefix_at(folder, notes)
    assert prefix_at(folder, notes) == first == prefix_at(folder, tmp_path / "others")
    assert first.prefix == str(folder)
    (folder / "share/words").write_text("others of conda\n")
    assert prefix_at(folder, notes).digest != first.digest
    (folder / "share/words").write_text("words of conda\n")
    assert prefix_at(folder, notes).digest == first.digest, "by what is in it, not by its times"


@pytest.mark.parametrize("root", ["lab", "envs/lab"])
def test_one_that_is_packed_in_a_folder_is_one(tmp_path: Path, root: str) -> None:
    archive = pack(make_prefix(tmp_path / "p"), tmp_path / "p.tar.gz", root=root)
    assert is_conda(archive)
    assert not prefix_at(archive, tmp_path / "notes").is_folder
    mac = pack(make_prefix(tmp_path / "m", subdir="osx-arm64"), tmp_path / "m.tar", root=root)
    with pytest.raises(ProjectError, match="its packages are for osx-arm64"):
        prefix_at(mac, tmp_path / "notes")


def test_a_system_that_has_an_environment_somewhere_is_none(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "root.tar", "w") as tar:
        for name in ("bin/sh", "opt/conda/conda-meta/a.json"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    assert not is_conda(tmp_path / "root.tar")


def test_what_was_read_once_is_not_read_again(tmp_path: Path) -> None:
    archive, notes = pack(make_prefix(tmp_path / "p"), tmp_path / "p.tar.gz"), tmp_path / "notes"
    first = prefix_at(archive, notes)
    told = archive.stat()
    with open(archive, "r+b") as file:  # nothing that a look at its times would show
        file.write(b"\0")
    os.utime(archive, ns=(told.st_atime_ns, told.st_mtime_ns))
    assert prefix_at(archive, notes) == first
    (notes / "images.json").write_text("damaged")
    with pytest.raises(ProjectError, match="is no image"):
        prefix_at(archive, notes)

    saved(tmp_path / "i.tar", [layer(Item("a"))])
    packed = tmp_path / "i.tar.gz"
    packed.write_bytes(gzip.compress((tmp_path / "i.tar").read_bytes()))
    image = found_at(packed, ImageNotes(notes, lambda: notes))
    assert packed.name in (notes / "images.json").read_text()
    assert found_at(packed, ImageNotes(notes, lambda: notes)) == image
    found_at(tmp_path / "i.tar", ImageNotes(notes, lambda: notes))
    assert "i.tar " not in (notes / "images.json").read_text(), "it is read in no time"


def test_damaged_notes_of_conda_are_told_in_words(tmp_path: Path) -> None:
    folder = make_prefix(tmp_path / "p")
    for data in (b"{", b'{"a":' * 100_000, b"[]"):
        (folder / "conda-meta/a.json").write_bytes(data)
        if data == b"[]":
            prefix_at(folder, tmp_path / "notes")
            continue
        with pytest.raises(ProjectError, match="cannot be read as an environment"):
            prefix_at(folder, tmp_path / "notes")


def test_what_is_no_file_among_the_notes_of_conda_is_passed_over(tmp_path: Path) -> None:
    """A pipe would be waited for without end."""
    folder = make_prefix(tmp_path / "p")
    os.mkfifo(folder / "conda-meta/a.json")
    (folder / "conda-meta/b.json").mkdir()
    (folder / "conda-meta/c.json").symlink_to("/dev/zero")
    assert prefix_at(folder, tmp_path / "notes").machine in ("x86_64", "aarch64")


def test_an_archive_is_told_from_an_image_by_what_is_in_it(tmp_path: Path) -> None:
    archive = pack(make_prefix(tmp_path / "p"), tmp_path / "p.tar.gz")
    assert is_conda(archive)
    assert is_conda(tmp_path / "p")
    saved(tmp_path / "i.tar", [layer(Item("conda-meta/x.json"))])
    (tmp_path / "i.tar.gz").write_bytes(gzip.compress((tmp_path / "i.tar").read_bytes()))
    (tmp_path / "damaged.tar").write_bytes(b"\x80" * 2000)
    for name in ("i.tar", "i.tar.gz", "damaged.tar", "none.tar"):
        assert not is_conda(tmp_path / name), name


def test_what_cannot_be_had_is_refused_with_what_helps(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    base = make_prefix(tmp_path / "miniconda3")
    (base / "pkgs").mkdir()
    with pytest.raises(ProjectError, match="miniconda3/envs/NAME"):
        prefix_at(base, notes)
    other = make_prefix(tmp_path / "mac", subdir="osx-arm64")
    with pytest.raises(ProjectError, match="packages are for osx-arm64"):
        prefix_at(other, notes)
    with pytest.raises(ProjectError, match="packages are for osx-arm64"):
        prefix_at(pack(other, tmp_path / "mac.tar.gz"), notes)


def test_no_piece_of_it_is_empty_whatever_sizes_its_files_have(tmp_path: Path) -> None:
    folder = make_prefix(tmp_path / "p")
    for size in (0, 511, 512, 513, 1 << 20):
        (folder / f"share/{size}").write_bytes(b"x" * size)
    pieces = list(pieces_of(folder))
    assert all(pieces)
    assert sum(map(len, pieces)) % 512 == 0


def test_the_archive_of_a_folder_is_read_by_others_as_it_is(tmp_path: Path) -> None:
    folder = make_prefix(tmp_path / "p")
    deep = folder / "/".join(["d" * 60] * 4)
    deep.mkdir(parents=True)
    (deep / ("n" * 200)).write_bytes(b"deep")
    (deep / "link").symlink_to("t" * 150)
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces_of(folder)))) as tar:
        tar.extractall(tmp_path / "out", filter="fully_trusted")
    for one in folder.rglob("*"):
        other = tmp_path / "out" / one.relative_to(folder)
        assert (one.is_symlink(), one.is_dir()) == (other.is_symlink(), other.is_dir()), one
        if one.is_file() and not one.is_symlink():
            assert one.read_bytes() == other.read_bytes()
            assert (one.stat().st_mode ^ other.stat().st_mode) & 0o111 == 0


def test_an_environment_is_seen_where_its_scripts_say_that_it_is(tmp_path: Path) -> None:
    """A home that is a link to where homes really are, as on clusters."""
    real, home = tmp_path / "mnt/home", tmp_path / "home"
    folder = make_prefix(real / "envs/lab")
    home.symlink_to(real)
    named = home / "envs/lab"
    assert prefix_at(named, tmp_path / "notes").prefix == str(folder), "nothing says otherwise"
    (folder / "bin/pip").write_text(f"#!{named}/bin/python\n")
    (folder / "bin/python9").symlink_to(f"{named}/bin/python")
    assert prefix_at(named, tmp_path / "notes").prefix == str(named)
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces_of(named)))) as tar:
        assert tar.getmember("bin/python9").linkname == "python"


def test_an_environment_with_more_names_than_can_be_sent_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_prefix(tmp_path / "p")
    count = sum(1 for _ in folder.rglob("*"))
    monkeypatch.setattr(conda, "NAMES_SENT_MAX", count)
    prefix_at(folder, tmp_path / "notes")
    (folder / "one more").write_text("")
    with pytest.raises(ProjectError, match=rf"p has {count + 1} names .*limit {count}"):
        prefix_at(folder, tmp_path / "notes")


def test_a_prefix_keeps_a_space_at_its_end() -> None:
    assert conda_lock("sha256:0", "/a/b ") == "conda sha256:0 /a/b \n"
    assert conda_lock("sha256:0", "") == "conda sha256:0\n"
