"""A step that is not left half done: bounded work on the disk that ignores cancellation."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from storage.errors import StoreFailedError


@asynccontextmanager
async def uninterrupted() -> AsyncIterator[None]:
    """Finish the block first; a caller who is cancelled need not hear of a failed store."""
    await trio.lowlevel.checkpoint_if_cancelled()
    try:
        with trio.CancelScope(shield=True):
            yield
    except StoreFailedError:
        await trio.lowlevel.checkpoint_if_cancelled()
        raise
