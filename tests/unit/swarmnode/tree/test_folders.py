"""Real folders into trees and back, with everything in them."""

import errno
import os
import socket
import tempfile
from pathlib import Path

import pytest
from blake3 import blake3

from swarmnode.errors import TreeChangedError, TreeRefusedError
from swarmnode.tree.format import EntryKind, TreeEntry, write_index
from swarmnode.tree.names import parts_of
from swarmnode.tree.pack import contents_of, hashes_of, packed
from swarmnode.tree.scan import entries_of, inside_of, scan
from swarmnode.tree.unpack import Unpacker
from tests.tree_lab import listing, pack, unpack

MIB = 1024 * 1024


def test_a_file_that_only_grew_is_read_as_long_as_it_was_at_the_look(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_bytes(b"one\n")
    seen = [one for one in scan(str(tmp_path)).found if one.kind is EntryKind.FILE]
    with log.open("ab") as file:
        file.write(b"two\n")
    assert b"".join(contents_of(str(tmp_path), seen, may_grow=True)) == b"one\n"
    assert list(hashes_of(str(tmp_path), seen, may_grow=True)) == [blake3(b"one\n").digest()]
    with pytest.raises(TreeChangedError):
        list(hashes_of(str(tmp_path), seen))
    log.write_bytes(b"")
    with pytest.raises(TreeChangedError):
        list(hashes_of(str(tmp_path), seen, may_grow=True))


def test_a_folder_comes_back_with_all_there_is_in_it(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub/empty").mkdir(parents=True)
    (source / ".git").mkdir()
    (source / ".git/config").write_bytes(b"x")
    (source / "run.sh").write_bytes(b"#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    (source / "secret").write_bytes(b"s" * (MIB + 1))
    (source / "secret").chmod(0o400)
    (source / "none").write_bytes(b"")
    os.link(source / "secret", source / "sub/twin")
    (source / "sub/link").symlink_to("../run.sh")
    (source / "nowhere").symlink_to("gone")
    (source / "absolute").symlink_to(source / "sub")
    for odd in (b"-rf", b"a b\n", b"\xff", b"n" * 255, "u\u0308".encode(), b"*"):
        Path(os.fsdecode(os.fsencode(source) + b"/" + odd)).write_bytes(odd)
    (source / "sub").chmod(0o555)
    unpack(pack(source), tmp_path / "target")
    assert os.readlink(tmp_path / "target/absolute") == "sub"
    wanted, got = listing(source), listing(tmp_path / "target")
    del wanted[b"absolute"], got[b"absolute"]
    assert got == wanted
    twins = [tmp_path / "target/secret", tmp_path / "target/sub/twin"]
    assert twins[0].stat().st_ino == twins[1].stat().st_ino
    (tmp_path / "target/sub").chmod(0o755)
    (source / "sub").chmod(0o755)


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for part in sorted("ba", reverse=name == "two"):
            (tmp_path / name / part).write_text(part)
    assert pack(tmp_path / "one") == pack(tmp_path / "two")


def test_ten_thousand_files_come_back(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for folder in range(100):
        (source / str(folder)).mkdir(parents=True)
        for number in range(100):
            (source / f"{folder}/{number}").write_bytes(b"%d" % number)
    data = pack(source)
    assert len(data) < 400_000  # a few bytes each: nothing is padded
    unpack(data, tmp_path / "target")
    assert listing(tmp_path / "target") == listing(source)


def test_a_sparse_file_comes_back_sparse(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name, at in (("ends in one", 0), ("has two", 4 * MIB), ("begins with one", 8 * MIB - 5)):
        with (source / name).open("wb") as file:
            file.truncate(8 * MIB)
            file.seek(at)
            file.write(b"12345")
    (source / "nothing").touch()
    os.truncate(source / "nothing", 8 * MIB)
    unpack(pack(source), tmp_path / "target")
    assert listing(tmp_path / "target") == listing(source)
    assert sum(one.stat().st_blocks for one in (tmp_path / "target").iterdir()) * 512 < 2 * MIB


@pytest.mark.parametrize("says_no", ["lseek", "ftruncate"])
def test_where_a_file_system_has_no_holes_zeros_are_written(
    says_no: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> int:
        raise OSError(errno.EPERM, "one byte after the other")

    source = tmp_path / "source"
    source.mkdir()
    (source / "mixed").write_bytes(b"12345" + bytes(MIB) + b"12345" + bytes(MIB))
    data = pack(source)
    monkeypatch.setattr(os, says_no, refuse)
    unpack(data, tmp_path / "target")
    assert listing(tmp_path / "target") == listing(source)


def test_a_full_disk_is_no_reason_to_write_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    (tmp_path / "source").mkdir()
    (tmp_path / "source/zeros").write_bytes(bytes(MIB))
    data = pack(tmp_path / "source")
    monkeypatch.setattr(os, "ftruncate", refuse)
    with pytest.raises(OSError, match="full"):
        unpack(data, tmp_path / "target")


def test_one_file_keeps_its_rights(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_bytes(b"#!/bin/sh\n")
    (tmp_path / "run.sh").chmod(0o750)
    unpack(pack(tmp_path / "run.sh"), tmp_path / "deep/er/copy")
    assert (tmp_path / "deep/er/copy").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("target", ["/etc/passwd", "../other", "sub/../../x"])
def test_a_link_out_of_the_folder_is_refused_by_name(tmp_path: Path, target: str) -> None:
    (tmp_path / "source/sub").mkdir(parents=True)
    (tmp_path / "source/way").symlink_to(target)
    with pytest.raises(TreeRefusedError, match=r"'way' is a link that leads out"):
        pack(tmp_path / "source")


def test_sockets_and_pipes_are_named_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(os.path.relpath(tmp_path / "door"))
        looked = scan(str(tmp_path))
    assert [str(one) for one in looked.left_out] == ["'door' is a socket", "'pipe' is a pipe"]
    assert [one.parts for one in looked.found] == [()]


def test_a_file_that_changes_while_it_is_read_breaks_the_stream(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * MIB)
    (tmp_path / "b").write_bytes(b"y" * 10)
    found = scan(str(tmp_path)).found
    stream = packed(str(tmp_path), found, entries_of(found, ()))
    next(stream)
    (tmp_path / "b").write_bytes(b"longer than it was")
    with pytest.raises(TreeChangedError, match="'b'"):
        list(stream)


def test_a_file_that_goes_or_becomes_a_link_is_a_change(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    found = scan(str(tmp_path)).found
    (tmp_path / "a").unlink()
    with pytest.raises(TreeChangedError, match="gone"):
        list(packed(str(tmp_path), found, entries_of(found, ())))
    (tmp_path / "a").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic"):
        list(packed(str(tmp_path), found, entries_of(found, ())))


def test_another_users_file_under_one_more_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    os.link(tmp_path / "a", tmp_path / "b")
    assert len(scan(str(tmp_path), owned_by=os.geteuid()).found) == 3
    with pytest.raises(TreeRefusedError, match="another user"):
        scan(str(tmp_path), owned_by=os.geteuid() + 1)


@pytest.mark.parametrize("rights", [0o444, 0o111, 0o000])
def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, rights: int) -> None:
    """As a user who is not root: a child that has given its rights away tries it."""
    (tmp_path / "shut").mkdir()
    (tmp_path / "shut/a").write_bytes(b"x")
    (tmp_path / "shut").chmod(rights)
    ours = [above for above in tmp_path.parents if Path(tempfile.gettempdir()) in above.parents]
    for above in (tmp_path, *ours):
        above.chmod(0o755)
    reading, writing = os.pipe()
    if not (child := os.fork()):
        os.setresuid(*[os.geteuid() or 65534] * 3)
        try:
            said = str(scan(str(tmp_path)))
        except TreeRefusedError as error:
            said = str(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    (tmp_path / "shut").chmod(0o755)
    assert "cannot be read: Permission denied" in said
    assert "'shut" in said


def test_too_many_names_are_refused_with_the_limit(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / str(number)).touch()
    with pytest.raises(TreeRefusedError, match="more than 5 names"):
        scan(str(tmp_path), entries_max=5)


def test_what_lies_in_the_way_is_replaced_but_a_folder_is_not(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/a").write_bytes(b"new")
    data = pack(tmp_path / "source")
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / "outside").write_bytes(b"kept")
    (target / "a").symlink_to(tmp_path / "outside")
    (target / "other").write_bytes(b"stays")
    unpack(data, target)
    assert (tmp_path / "outside").read_bytes() == b"kept"
    assert listing(target)[b"a"][2] == b"new"
    assert (target / "other").read_bytes() == b"stays"
    (target / "a").unlink()
    (target / "a").mkdir()
    with pytest.raises(TreeRefusedError, match="folder here already"):
        unpack(data, target)


def test_a_folder_that_is_a_link_here_is_never_entered(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "target").mkdir()
    (tmp_path / "target/d").symlink_to(tmp_path / "outside")
    folders = (TreeEntry(b"", EntryKind.FOLDER, 0o755), TreeEntry(b"d", EntryKind.FOLDER, 0o755))
    index = write_index((*folders, TreeEntry(b"d/x", EntryKind.FILE, 0o644, 1)))
    with pytest.raises(TreeRefusedError):
        unpack(index + b"x", tmp_path / "target")
    assert not list((tmp_path / "outside").iterdir())


def test_two_names_that_are_one_here_are_refused(tmp_path: Path) -> None:
    """As on a file system without upper case: the second finds the first in its place."""
    entries = (TreeEntry(b"", EntryKind.FOLDER, 0o755), TreeEntry(b"A", EntryKind.FILE, 0o644, 1),
               TreeEntry(b"B", EntryKind.FILE, 0o644, 1))  # fmt: skip
    target = tmp_path / "target"
    target.mkdir()
    unpacker = Unpacker(str(target), ())
    unpacker.feed(write_index(entries))
    os.link(target / "A", target / "B")
    with pytest.raises(TreeRefusedError, match="one to this file system"):
        unpacker.feed(b"ab")
    unpacker.close()


@pytest.mark.parametrize("cut", [-1, 1, 30])
def test_a_tree_that_ends_early_or_late_is_refused(tmp_path: Path, cut: int) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/a").write_bytes(b"x" * 40)
    data = pack(tmp_path / "source")
    (tmp_path / "target").mkdir()
    with pytest.raises(TreeRefusedError):
        unpack(data + b"more" if cut < 0 else data[:-cut], tmp_path / "target")


def test_a_link_by_the_folders_own_absolute_name_becomes_relative() -> None:
    inside = inside_of(b"/work", b"/srv/jobs/1/work")
    assert inside(b"/work/a/b") == b"a/b"
    assert inside(b"/srv/jobs/1/work/") == b"."
    assert inside(b"/worker") == b"/worker"
    assert parts_of(b"a") == (b"a",)


def test_a_file_that_cannot_be_handed_over_leaves_no_descriptor_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, uid: int, gid: int) -> None:
        raise PermissionError(errno.EPERM, "not yours to give")

    monkeypatch.setattr(os, "fchown", refuse)
    entries = (TreeEntry(b"", EntryKind.FOLDER, 0o755), TreeEntry(b"a", EntryKind.FILE, 0o644, 1))
    unpacker = Unpacker(str(tmp_path), (), owner=61_000)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(PermissionError):
        unpacker.feed(write_index(entries))
    unpacker.close()
    assert len(os.listdir("/proc/self/fd")) == before
