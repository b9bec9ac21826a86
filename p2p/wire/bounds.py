"""Depth and size of a MessagePack value, checked before anything is decoded.

MessagePack amplifies: one byte 0x80 becomes an empty dict of 64 bytes. This walk touches each
value once, builds nothing, and so costs a hostile sender as much as us. (The decoder has no such
bound: it recurses into what it skips.)
Source: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from typing import Final

from p2p.errors import WireError
from p2p.limits import DECODE_DEPTH_MAX, DECODE_NODES_MAX

_COUNTED: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""Byte strings and texts: how many bytes their length takes."""

_ARRAYS: Final = {0xDC: 2, 0xDD: 4}
"""Long arrays: how many bytes their count takes."""


def _plain_sizes() -> bytes:
    """By first byte, the bytes of a value that says its whole size there; 0 for all others."""
    sizes = [0] * 256
    for code in (*range(0x80), *range(0xE0, 0x100), 0xC0, 0xC2, 0xC3):
        sizes[code] = 1
    for code in range(0xA0, 0xC0):
        sizes[code] = 1 + (code & 0x1F)
    for codes in (range(0xCC, 0xD0), range(0xD0, 0xD4)):
        for width, code in enumerate(codes):
            sizes[code] = 1 + 2**width
    sizes[0xCA], sizes[0xCB] = 5, 9
    return bytes(sizes)


_PLAIN: Final = _plain_sizes()


def check_bounds(data: bytes) -> None:
    """Raise WireError unless `data` is one value within the depth and node limits.

    Maps and extension types are refused: no message of ours has them.
    """
    plain = _PLAIN
    at, left, promised = 0, 1, 1
    outer: list[int] = []  # values still to come at each level around this one
    try:
        while left or outer:
            if not left:
                left = outer.pop()
                continue
            left -= 1
            code = data[at]
            if step := plain[code]:
                at += step
                continue
            at, count = _step_into(data, at, code)
            if count is not None:
                promised += count
                outer.append(left)
                left = count
                if promised > DECODE_NODES_MAX or len(outer) > DECODE_DEPTH_MAX:
                    raise WireError(f"message of over {promised} values, {len(outer)} levels deep")
    except IndexError:
        raise WireError("message ends early") from None
    if at != len(data):
        raise WireError("message is cut short or followed by other bytes")


def _step_into(data: bytes, at: int, code: int) -> tuple[int, int | None]:
    """Past a length or count: where to go on, and how many values an array holds."""
    if 0x90 <= code <= 0x9F:
        return at + 1, code & 0x0F
    if width := _COUNTED.get(code):
        at += 1 + width
        return at + int.from_bytes(data[at - width : at]), None
    if width := _ARRAYS.get(code):
        at += 1 + width
        return at, int.from_bytes(data[at - width : at])
    raise WireError(f"message holds a value of type 0x{code:02x}, which no message has")
