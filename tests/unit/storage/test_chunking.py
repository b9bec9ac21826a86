"""Streams cut into segments."""

from collections.abc import AsyncIterator, Iterable

import pytest

from storage.coding.chunking import segments


async def stream(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def cut(chunks: Iterable[bytes], size: int) -> list[bytes]:
    return [segment async for segment in segments(stream(chunks), size)]


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 5, 7, 100])
async def test_segments_do_not_depend_on_how_the_bytes_arrive(chunk: int) -> None:
    data = bytes(range(23))
    pieces = [data[at : at + chunk] for at in range(0, len(data), chunk)]
    assert await cut(pieces, 5) == [data[at : at + 5] for at in range(0, 23, 5)]


async def test_an_exact_fit_has_no_empty_segment_behind() -> None:
    assert await cut([b"abcd", b"efgh"], 4) == [b"abcd", b"efgh"]


async def test_an_empty_stream_is_one_empty_segment() -> None:
    assert await cut([], 4) == [b""]
    assert await cut([b"", b""], 4) == [b""]


async def test_empty_chunks_change_nothing() -> None:
    assert await cut([b"", b"ab", b"", b"c", b""], 2) == [b"ab", b"c"]
