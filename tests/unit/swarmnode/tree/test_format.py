"""The bytes of a tree: one way to write each, and everything else refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.wire.codec import encode
from swarmnode.errors import TreeRefusedError
from swarmnode.limits import TREE_ENTRIES_MAX
from swarmnode.tree.format import (
    MAGIC,
    EntryKind,
    TreeEntry,
    TreeHead,
    TreeIndex,
    TreePage,
    write_index,
)
from swarmnode.tree.unpack import IndexReader

ROOT = TreeEntry(b"", EntryKind.FOLDER, 0o755)


def file(path: bytes, size: int = 0, mode: int = 0o644) -> TreeEntry:
    return TreeEntry(path, EntryKind.FILE, mode, size)


def folder(path: bytes) -> TreeEntry:
    return TreeEntry(path, EntryKind.FOLDER, 0o755)


def link(path: bytes, target: bytes) -> TreeEntry:
    return TreeEntry(path, EntryKind.LINK, target=target)


def read(data: bytes, piece: int = 1 << 20) -> tuple[TreeIndex, bytes]:
    reader = IndexReader()
    for at in range(0, len(data), piece):
        if (whole := reader.feed(data[at : at + piece])) is not None:
            return whole[0], whole[1] + data[at + piece :]
    raise AssertionError("the index never ended")


def test_the_bytes_of_a_tree_never_change() -> None:
    tree = (
        ROOT,
        file(b"a", 3, 0o755),
        TreeEntry(b"b", EntryKind.NAME, target=b"a"),
        link(b"c", b"a"),
    )
    assert write_index(tree).hex() == (
        "737761726d207472656520310a"  # MAGIC
        "00000005" "9404012f03"  # 4 entries on 1 page of 43 bytes, 3 bytes of contents
        "0000002b" "9194"  # the page
        "95c40000cd01ed00c400" "95c40161" "01cd01ed03c400"
        "95c40162" "030000c40161" "95c40163" "020000c40161"
    )  # fmt: skip


def test_what_is_written_is_read_however_it_is_cut() -> None:
    tree = (ROOT, folder(b"d"), file(b"d/\xff\n", 5), file(b"e"), link(b"f", b"d/../e"))
    data = write_index(tree) + b"hello"
    for piece in (1, 7, 1000):
        assert read(data, piece) == (TreeIndex(tree), b"hello")


def test_ten_thousand_names_take_several_pages() -> None:
    tree = (ROOT, *(file(b"%05d" % number, 1) for number in range(10_000)))
    index, rest = read(write_index(tree))
    assert index.entries == tree
    assert (index.files, index.content_bytes, rest) == (10_000, 10_000, b"")


def test_a_folder_sorts_before_what_is_in_it_whatever_stands_beside_it() -> None:
    write_index((ROOT, folder(b"a"), file(b"a/b"), file(b"a-b")))
    with pytest.raises(TreeRefusedError, match="order"):
        write_index((ROOT, folder(b"a"), file(b"a-b"), file(b"a/b")))


HOSTILE = {
    "up": (file(b".."),),
    "up inside": (folder(b"a"), file(b"a/../b")),
    "absolute": (file(b"/etc/passwd"),),
    "dot": (file(b"."),),
    "doubled slash": (folder(b"a"), file(b"a//b")),
    "NUL": (file(b"a\0b"),),
    "twice": (file(b"a"), file(b"a")),
    "out of order": (file(b"b"), file(b"a")),
    "no folder above": (file(b"a/b"),),
    "a file above": (file(b"a"), file(b"a/b")),
    "a link above": (folder(b"d"), link(b"l", b"d"), file(b"l/x")),
    "too deep": tuple(folder(b"/".join([b"d"] * depth)) for depth in range(1, 66)),
    "long part": (file(b"x" * 256),),
    "set-user-id": (file(b"a", mode=0o4755),),
    "negative size": (file(b"a", -1),),
    "enormous size": (file(b"a", 1 << 61),),
    "folder with size": (TreeEntry(b"a", EntryKind.FOLDER, 0o755, 1),),
    "link to nothing": (link(b"a", b""),),
    "link with NUL": (link(b"a", b"x\0"),),
    "link up": (link(b"a", b".."),),
    "absolute link": (link(b"a", b"/etc"),),
    "link up from below": (folder(b"d"), link(b"d/l", b"../../x")),
    "link through a link": (
        folder(b"a"), folder(b"a/b"), link(b"a/b/top", b"../.."), link(b"l", b"a/b/top/../etc"),
    ),
    "name of nothing": (TreeEntry(b"b", EntryKind.NAME, target=b"a"),),
    "name of a later file": (TreeEntry(b"a", EntryKind.NAME, target=b"b"), file(b"b")),
    "name of a link": (file(b"a"), link(b"b", b"a"), TreeEntry(b"c", EntryKind.NAME, target=b"b")),
    "second root": (folder(b""),),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_tree_is_refused_by_who_writes_and_by_who_reads(what: str) -> None:
    entries = (ROOT, *HOSTILE[what])
    with pytest.raises(TreeRefusedError):
        write_index(entries)
    with pytest.raises(TreeRefusedError):
        read(forged(entries))


@pytest.mark.parametrize("target", [b"b", b"./b", b"d/../b", b"gone", b"a", b"d/l2", b"a/.."])
def test_links_inside_are_kept_also_those_that_lead_nowhere_or_in_a_ring(target: bytes) -> None:
    tree = (ROOT, link(b"a", target), file(b"b"), folder(b"d"), link(b"d/l2", b"../a"))
    assert read(write_index(tree))[0].entries == tree


def test_a_tree_may_be_one_file_but_not_one_link() -> None:
    index, _ = read(write_index((file(b"", 0, 0o755),)))
    assert index.is_file
    for other in (link(b"", b"a"), file(b"a")):
        with pytest.raises(TreeRefusedError):
            write_index((other,))
    with pytest.raises(TreeRefusedError):
        write_index((file(b""), file(b"a")))


def test_too_many_names_are_refused() -> None:
    with pytest.raises(TreeRefusedError, match=str(TREE_ENTRIES_MAX)):
        write_index((ROOT, *(file(b"%06d" % number) for number in range(TREE_ENTRIES_MAX))))


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


def forged(tree: tuple[TreeEntry, ...], **changes: int) -> bytes:
    """The bytes of a tree as somebody writes it who does not check."""
    page = framed(encode(TreePage(tree)))
    values = {
        "entries": len(tree),
        "pages": 1,
        "index_bytes": len(page),
        "content_bytes": max(0, sum(entry.size for entry in tree)),
        **changes,
    }
    return MAGIC + framed(encode(TreeHead(**values))) + page


@pytest.mark.parametrize(
    "changes",
    [{"entries": 3}, {"entries": 0}, {"pages": 0}, {"content_bytes": 9}, {"index_bytes": 1 << 30}],
)
def test_a_head_that_lies_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(TreeRefusedError):
        read(forged((ROOT, file(b"a", 2)), **changes) + b"\0" * 100)


def test_another_encoding_of_the_same_tree_is_refused() -> None:
    pages = b"".join(framed(encode(TreePage((one,)))) for one in (ROOT, file(b"a")))
    head = framed(encode(TreeHead(2, 2, len(pages), 0)))
    with pytest.raises(TreeRefusedError, match="head"):
        read(MAGIC + head + pages)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_tree_or_refused(data: bytes) -> None:
    for start in (b"", MAGIC, write_index((ROOT, file(b"a")))[:20]):
        with contextlib.suppress(TreeRefusedError):
            IndexReader().feed(start + data)
