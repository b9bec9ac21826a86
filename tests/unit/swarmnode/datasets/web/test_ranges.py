"""Which bytes a request wants, of datasets and of the mirror."""

import pytest

from swarmnode.datasets.web.ranges import ByteRange, is_known, wanted

TAG = '"t"'


def asked(method: str = "GET", **headers: str) -> ByteRange | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return wanted(method, lambda name: named.get(name, ""), TAG)


@pytest.mark.parametrize(
    ("header", "there"),
    [("bytes=0-", (0, 10)), ("bytes=4-", (4, 10)), ("bytes=-3", (7, 10)), ("bytes=2-3", (2, 4)),
     ("bytes=2-99", (2, 10)), ("bytes=-99", (0, 10)), ("bytes= 1 - 1", (1, 2))],
)  # fmt: skip
def test_a_range_is_where_it_says_and_is_asked_for_as_it_was(
    header: str, there: tuple[int, int]
) -> None:
    part = asked(range=header)
    assert part is not None
    assert part.within(10) == there
    assert asked(range=str(part)) == part


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=99-100", "bytes=-0", "bytes=3-2"])
def test_a_range_that_has_nothing_is_one_all_the_same(header: str) -> None:
    """Clients that go on with a download which was whole ask so (huggingface_hub#2197); one that
    was given all in place of a part read wrong data (filesystem_spec#1140)."""
    part = asked(range=header)
    assert part is not None
    assert part.within(10) is None


@pytest.mark.parametrize(
    "header", ["", "bytes=-", "bytes=0-1,3-4", "items=0-1", "bytes=" + "9" * 30 + "-"]
)
def test_what_is_no_single_range_means_the_whole(header: str) -> None:
    assert asked(range=header) is None


def test_a_part_of_another_file_is_not_gone_on_with() -> None:
    """huggingface_hub#4143: without If-Range a resumed download mixes two files."""
    assert asked(range="bytes=1-", if_range=TAG) is not None
    for other in ('"other"', 'W/"t"', "Mon, 05 Jan 2026 00:00:00 GMT"):
        assert asked(range="bytes=1-", if_range=other) is None


def test_a_range_is_for_get_alone() -> None:
    assert asked("HEAD", range="bytes=0-1") is None


@pytest.mark.parametrize(
    ("listed", "known"),
    [('"t"', True), ('"x", W/"t"', True), ("*", True), ('"x"', False), ("", False)],
)
def test_what_is_known_need_not_come(listed: str, *, known: bool) -> None:
    assert is_known(lambda _name: listed, TAG) is known
