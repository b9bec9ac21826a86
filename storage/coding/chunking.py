"""Cuts any byte stream into segments of one size; the last may be shorter, and only it."""

from collections.abc import AsyncGenerator, AsyncIterable

from storage.limits import SEGMENT_BYTES


async def segments(
    source: AsyncIterable[bytes], segment_bytes: int = SEGMENT_BYTES
) -> AsyncGenerator[bytes, None]:
    """Yield exact segments; one empty segment for an empty source. At most one is held here."""
    held = bytearray()
    yielded = False
    async for chunk in source:
        view = memoryview(chunk)
        while len(held) + len(view) >= segment_bytes:
            take = segment_bytes - len(held)
            held += view[:take]
            view = view[take:]
            yield bytes(held)
            yielded = True
            held = bytearray()
        held += view
    if held or not yielded:
        yield bytes(held)
