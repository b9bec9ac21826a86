"""Names as bytes and as text, and the pattern language of outputs."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmnode.errors import NameRefusedError
from swarmnode.tree.names import bytes_of, normal, parts_in, parts_of, text_of
from swarmnode.tree.pattern import Pattern

ODD_NAMES = (
    b".env", b"-rf", b"a b", b"epoch=3-step=500.ckpt", b"a\nb", b"\xff\xfe", b"back\\slash",
    "u\u0308ber".encode(), "\u202egpj".encode(), b"x" * 255, b"\xed\xb2\x80", b"*", b"[a]", b" ",
)  # fmt: skip


@pytest.mark.parametrize("name", ODD_NAMES)
def test_every_name_linux_allows_is_a_name_and_has_its_own_text(name: bytes) -> None:
    assert parts_of(b"in/" + name) == (b"in", name)
    assert bytes_of(text_of(name)) == name
    text_of(name).encode()  # no lone surrogates: JSON and MessagePack take it


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_no_two_names_share_a_text(one: bytes, other: bytes) -> None:
    assert bytes_of(text_of(one)) == one
    assert (text_of(one) == text_of(other)) is (one == other)


def test_text_says_only_bytes_that_are_not_utf8_differently() -> None:
    assert text_of("für/x".encode()) == "für/x"
    assert text_of(b"a\xffb\\c") == r"a\xffb\\c"
    assert bytes_of(r"\xc3\xa4") == "ä".encode()


@pytest.mark.parametrize("text", ["\\", "a\\b", "\\x", "\\xf", "\\xzz", "\udcff"])
def test_a_text_that_means_no_name_is_refused(text: str) -> None:
    with pytest.raises(NameRefusedError, match="write"):
        bytes_of(text)


@pytest.mark.parametrize(
    "name", [b"/etc", b"..", b"a/../b", b"a\0b", b"x" * 256, b"a/" * 65 + b"a", b"abc/" * 800]
)
def test_a_name_that_leaves_the_folder_or_linux_is_refused(name: bytes) -> None:
    with pytest.raises(NameRefusedError):
        parts_of(name)


def test_dots_and_doubled_slashes_mean_nothing() -> None:
    assert normal("./a//b/./c/") == "a/b/c"
    assert normal("./") == normal(".") == "."
    assert parts_in(".") == ()


@pytest.mark.parametrize(
    ("pattern", "name", "is_meant"),
    [
        ("*.txt", b"a.txt", True),
        ("*.txt", b".txt", True),
        ("*.txt", b"d/a.txt", False),
        ("**/*.txt", b"a.txt", True),
        ("**/*.txt", b"d/e/a.txt", True),
        ("d/**", b"d/x/y", True),
        ("d/**/z", b"d/z", True),
        ("d/**/z", b"d/a/b/z", True),
        ("d/**/z", b"d/a/b/y", False),
        ("./d//x", b"d/x", True),
        ("a?c", "aäc".encode(), True),
        ("a?c", b"a\xffc", True),
        ("a?c", b"ac", False),
        ("a?c", b"a/c", False),
        ("[a-c]*", b"bx", True),
        ("[!a-c]*", b"bx", False),
        ("[^a-c]*", b"dx", True),
        ("[]]", b"]", True),
        ("[a-]", b"-", True),
        (r"\*", b"*", True),
        (r"\*", b"x", False),
        (r"\[x\]", b"[x]", True),
        (r"\xff*", b"\xff1", True),
        (r"\xc3\xa4", "ä".encode(), True),
        ("*", b"a\nb", True),
        ("epoch=*", b"epoch=3.ckpt", True),
        ("**", b"anything/at/all", True),
        ("a**b", b"axxb", True),
    ],
)
def test_a_pattern_means_what_it_says(pattern: str, name: bytes, is_meant: bool) -> None:
    assert Pattern(pattern).matches(tuple(name.split(b"/"))) is is_meant


@pytest.mark.parametrize("pattern", ["", "/x", "..", "a/../b", "[a", "a\\", "x" * 1025])
def test_a_pattern_that_cannot_match_is_refused(pattern: str) -> None:
    with pytest.raises(NameRefusedError):
        Pattern(pattern)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_the_text_of_a_name_without_wildcards_is_its_pattern(name: bytes) -> None:
    text = text_of(name)
    for wild in "*?[":
        text = text.replace(wild, f"\\{wild}")
    assert Pattern(text).name == (name,)
    assert Pattern(text).matches((name,))


def test_no_pattern_takes_long() -> None:
    began_s = time.process_time()
    for _ in range(100):
        assert not Pattern("*a" * 400).matches((b"a" * 254 + b"b",))
        assert not Pattern("**/a/" * 150 + "b").matches((b"a",) * 64)
    assert time.process_time() - began_s < 10
