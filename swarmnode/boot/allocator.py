"""glibc's allocator, told to give big buffers back.

Left alone it raises its mmap threshold to the size of the biggest buffer freed so far (8 MiB here)
and then keeps segments of that size in heaps of every thread: a node that streamed a large object
held 250 MB instead of 175. Source: mallopt(3), M_MMAP_THRESHOLD and M_ARENA_MAX.
"""

import ctypes
from typing import Final

_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
BIG_BYTES: Final = 512 * 1024
"""From this size on a buffer is mapped by itself and unmapped when freed."""
ARENAS: Final = 2


def give_back_big_buffers() -> bool:
    """Set both; False where the C library has no such knobs (musl)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, BIG_BYTES) and mallopt(_M_ARENA_MAX, ARENAS))
