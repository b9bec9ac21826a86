"""Agreeing on a protocol ahead: what is said first, and what must be heard first."""

import pytest

from p2p.errors import WireError
from p2p.link.agreement import Agreement, opening


def test_what_is_said_first_is_the_protocol_and_nothing_after_it() -> None:
    agreement = Agreement("/noise")
    assert agreement.before() == opening("/noise") == b"\x13/multistream/1.0.0\n\x07/noise\n"
    assert agreement.before() == b""


@pytest.mark.parametrize("piece", [1, 7, 20, 1000])
def test_the_answer_is_taken_out_in_whatever_pieces_it_comes(piece: int) -> None:
    agreement = Agreement("/noise")
    agreement.before()
    data = opening("/noise") + b"first words"
    heard = b"".join(agreement.behind(data[at : at + piece]) for at in range(0, len(data), piece))
    assert heard == b"first words"
    assert not agreement.is_open
    assert agreement.behind(b"more") == b"more"


@pytest.mark.parametrize(
    "answer",
    [b"\x13/multistream/1.0.0\n\x03na\n", b"\x13/multistream/2.0.0\n", b"\x00", b"HTTP/1.1"],
)
def test_another_answer_is_an_error_that_names_the_protocol(answer: bytes) -> None:
    agreement = Agreement("/noise")
    with pytest.raises(WireError, match="does not speak /noise"):
        agreement.behind(answer)


def test_without_a_protocol_nothing_is_said_or_taken_out() -> None:
    agreement = Agreement()
    assert not agreement.is_open
    assert agreement.before() == b""
    assert agreement.behind(b"\x13/multi") == b"\x13/multi"
