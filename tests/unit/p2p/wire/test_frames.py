"""A byte stream is cut into frames wherever the network cuts it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.errors import WireError
from p2p.wire.frames import FrameReader, frame, payloads_in


@given(st.lists(st.binary(max_size=200), max_size=20), st.integers(1, 50))
def test_frames_come_out_whole_however_they_arrive(payloads: list[bytes], step: int) -> None:
    stream = b"".join(map(frame, payloads))
    reader = FrameReader(bytes_max=200)
    seen = [f for at in range(0, len(stream), step) for f in reader.feed(stream[at : at + step])]
    assert seen == payloads
    assert reader.is_between_frames


@given(st.lists(st.binary(max_size=200), max_size=20), st.integers(1, 3))
def test_frames_that_are_all_there_are_read_unless_they_end_early(
    payloads: list[bytes], lost: int
) -> None:
    data = b"".join(map(frame, payloads))
    assert list(payloads_in(data)) == payloads
    with pytest.raises(WireError):
        list(payloads_in(data + frame(bytes(4))[:-lost]))


def test_a_length_bomb_is_refused_from_its_header_alone() -> None:
    reader = FrameReader(bytes_max=1024)
    with pytest.raises(WireError):
        reader.feed(b"\xff\xff\xff\xff")


def test_a_cut_frame_shows_at_the_end_of_the_stream() -> None:
    reader = FrameReader(bytes_max=1024)
    assert reader.feed(frame(b"hello")[:-1]) == []
    assert not reader.is_between_frames
