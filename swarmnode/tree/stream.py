"""Tells a tree from plain bytes by how they begin."""

from collections.abc import AsyncIterable, AsyncIterator

from swarmnode.tree.format import MAGIC


async def told_apart(chunks: AsyncIterable[bytes]) -> tuple[bool, AsyncIterator[bytes]]:
    """Whether the stream is a tree, and the same stream from its beginning."""
    stream = aiter(chunks)
    held = b""
    while len(held) < len(MAGIC):
        piece = await anext(stream, None)
        if piece is None:
            break
        held += piece
    return held.startswith(MAGIC), _joined(held, stream)


async def _joined(held: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if held:
        yield held
    async for piece in rest:
        yield piece
