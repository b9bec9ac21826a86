"""What programs are answered that read datasets by HTTP (RFC 9110)."""

import json

import pytest

from swarmnode.datasets.web.core import DataWeb, WebAnswer, WebDataset, WebRequest
from swarmnode.fuse.inodes import ROOT, ContentPlace, Inode, Inodes, file_inode, folder_mode

SIZE = 1000


def tree() -> Inodes:
    inodes = Inodes(Inode(folder_mode(0o755), 0, ROOT))
    sub = inodes.add_folder(ROOT, b"a b", 0o755)
    inodes.add_file(sub, b"\xff%<x>", 0o644, SIZE, ContentPlace(0, 100))
    inodes.add_file(ROOT, b"empty", 0o644, 0, ContentPlace())
    inodes.add_folder(ROOT, b"nothing", 0o755)
    inodes.add_link(ROOT, b"link", b"a b/../a b/\xff%<x>")
    inodes.add_link(ROOT, b"out", b"../../etc/passwd")
    inodes.add_link(ROOT, b"absolute", b"/etc/passwd")
    inodes.add_link(ROOT, b"round", b"round")
    return inodes


WEB = DataWeb(
    [
        WebDataset("/data", tree(), "t1"),
        WebDataset("/work/one.bin", Inodes(file_inode(0o644, SIZE, ContentPlace())), "t2"),
    ]
)


def get(target: str, method: str = "GET", **headers: str) -> WebAnswer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return WEB.answer(WebRequest(method, target, named))


def body(answer: WebAnswer) -> bytes:
    return b"".join(answer.body)


def head(answer: WebAnswer, name: str) -> str:
    return dict(answer.headers)[name]


def test_a_file_is_given_whole_with_its_tag_and_length() -> None:
    answer = get("/work/one.bin")
    assert (answer.status, answer.dataset, answer.size) == (200, 1, SIZE)
    assert head(answer, "content-length") == str(SIZE)
    assert head(answer, "accept-ranges") == "bytes"
    again = get("/work/one.bin?versionId=1", "HEAD")
    assert (again.status, again.size) == (200, 0)
    assert again.headers == answer.headers


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-0", 0, 0), ("bytes=10-19", 10, 19), ("bytes=990-", 990, 999),
        ("bytes=-5", 995, 999), ("bytes=-5000", 0, 999), ("bytes=999-5000", 999, 999),
    ],
)  # fmt: skip
def test_a_range_is_given_as_far_as_it_is_there(wanted: str, start: int, end: int) -> None:
    answer = get("/data/a%20b/%FF%25%3Cx%3E", range=wanted)
    assert answer.status == 206
    assert head(answer, "content-range") == f"bytes {start}-{end}/{SIZE}"
    assert (answer.place.offset, answer.size) == (100 + start, end - start + 1)
    assert get("/data/a%20b/%FF%25%3Cx%3E", "HEAD", range=wanted).status == 200  # RFC 9110, 14.2


@pytest.mark.parametrize("wanted", ["bytes=1000-", "bytes=-0", "bytes=5-4", "bytes=5000-6000"])
def test_a_range_that_has_nothing_is_told_how_long_the_file_is(wanted: str) -> None:
    answer = get("/work/one.bin", range=wanted)
    assert answer.status == 416
    assert head(answer, "content-range") == f"bytes */{SIZE}"


@pytest.mark.parametrize("wanted", ["bytes=0-1,5-6", "lines=1-2", "bytes=-", "bytes=a-b", "0-5"])
def test_what_is_no_single_range_gets_all_of_it(wanted: str) -> None:
    assert (get("/work/one.bin", range=wanted).status, SIZE) == (200, SIZE)


def test_a_tag_decides_whether_a_range_or_anything_is_sent() -> None:
    tag = head(get("/work/one.bin"), "etag")
    assert get("/work/one.bin", range="bytes=0-1", if_range=tag).status == 206
    assert get("/work/one.bin", range="bytes=0-1", if_range='"other"').status == 200
    assert get("/work/one.bin", if_none_match=f'"x", W/{tag}').status == 304
    assert get("/data/a%20b/%FF%25%3Cx%3E", if_none_match=tag).status == 200


def test_folders_are_listed_as_links_or_as_json_and_want_a_slash() -> None:
    moved = get("/data/a%20b")
    assert (moved.status, head(moved, "location")) == (308, "/data/a%20b/")
    page = body(get("/data/a%20b/")).decode()
    assert '<a href="%FF%25%3Cx%3E">\\xff%&lt;x&gt;</a>' in page
    listed = json.loads(body(get("/data/", accept="application/json")))
    assert listed[:2] == [
        {"name": "a b", "kind": "folder", "bytes": 0},
        {"name": "empty", "kind": "file", "bytes": 0},
    ]
    assert '<a href="data/">data/</a>' in body(get("/")).decode()


def test_a_large_folder_comes_in_pieces_and_each_name_once() -> None:
    inodes = Inodes(Inode(folder_mode(0o755), 0, ROOT))
    names = [b"%04d" % number for number in range(1000)]
    for name in names:
        inodes.add_file(ROOT, name, 0o644, 1, ContentPlace())
    web = DataWeb([WebDataset("/d", inodes, "t")])
    listed = web.answer(WebRequest("GET", "/d/", {"accept": "application/json"}))
    pieces = list(listed.body)
    assert len(pieces) > 4
    assert [one["name"].encode() for one in json.loads(b"".join(pieces))] == names
    assert json.loads(body(get("/data/nothing/", accept="application/json"))) == []


def test_links_lead_to_what_is_in_the_dataset_and_nowhere_else() -> None:
    assert get("/data/link").place.offset == 100
    for name in ("out", "absolute", "round", "../work/one.bin", "%2e%2e/x", "a%20b/../../../etc"):
        assert get(f"/data/{name}").status == 404
    assert get("/etc/passwd").status == 404
    assert get("/dat").status == 404


def test_an_empty_file_is_given_whole_to_any_range_and_nothing_is_written() -> None:
    """Who asks for the first bytes of whatever it is cannot tell before (golang/go#47021,
    werkzeug#1937)."""
    assert get("/data/empty").size == 0
    for wanted in ("bytes=0-", "bytes=0-9", "bytes=-5", "bytes=7-"):
        answer = get("/data/empty", range=wanted)
        assert (answer.status, head(answer, "content-length")) == (200, "0")
    assert get("/data/empty", "DELETE").status == 405
