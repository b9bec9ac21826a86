"""Streams of pieces: ended when nobody reads on, and in pieces of some size."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def closing(pieces: AsyncIterator[bytes]) -> AsyncGenerator[None, None]:
    """Whoever reads no further has it ended now, and not by whoever collects garbage."""
    try:
        yield
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


async def gathered(pieces: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """The same in pieces of at least so many bytes: each costs whoever takes it a step."""
    held, length = list[bytes](), 0
    async with closing(pieces):
        async for piece in pieces:
            held.append(piece)
            length += len(piece)
            if length >= size:
                yield held[0] if len(held) == 1 else b"".join(held)
                held, length = [], 0
    if held:
        yield b"".join(held)
