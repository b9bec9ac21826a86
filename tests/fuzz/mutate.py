"""Bytes that are almost right: a small mutation engine, the same for the same dice."""

import random
from collections.abc import Sequence
from typing import Final

_TELLING: Final = bytes.fromhex(
    "00017f8081909192939fa0a1bfc0c1c2c4c5c6c7cacbcccdcecfd0d3d9dadbdcdddfe0ff"
)
"""Bytes that mean something to MessagePack, Yamux, JSON or a length."""

_NUMBERS: Final = tuple(
    number.to_bytes(width)
    for width in (2, 4, 8)
    for number in (0, 1, 127, 128, 255, 256, 2 ** (8 * width - 1), 2 ** (8 * width) - 1)
    if number < 2 ** (8 * width)
)
_WORDS: Final = (b"[[[[[[[[", b'{"":', b"\xff\xfe", b"\xed\xa0\x80", b"1e999", b"NaN", b"-0", b"\n")
_LONGEST: Final = 70_000


def mutated(data: bytes, others: Sequence[bytes], dice: random.Random) -> bytes:
    """One to six changes to `data`; `others` may lend a part."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 6))):
        _change(changed, others, dice)
    return bytes(changed[:_LONGEST])


def _change(data: bytearray, others: Sequence[bytes], dice: random.Random) -> None:
    at = dice.randrange(len(data) + 1)
    end = min(len(data), at + dice.choice((1, 1, 2, 4, 8, 64)))
    match dice.randrange(10):
        case 0 if at < len(data):
            data[at] ^= 1 << dice.randrange(8)
        case 1 if at < len(data):
            data[at] = dice.choice(_TELLING)
        case 2 if at < len(data):
            data[at] = (data[at] + dice.choice((-1, 1))) % 256
        case 3:
            del data[at:end]
        case 4:
            data[at:at] = bytes(dice.choice(_TELLING) for _ in range(dice.randrange(1, 9)))
        case 5:
            data[at:end] = dice.choice(_NUMBERS)
        case 6:
            data[at:at] = data[at:end] * dice.choice((1, 2, 100, 5000))
        case 7:
            del data[at:]
        case 8:
            data[at:end] = dice.choice(_WORDS)
        case _:
            other = dice.choice(others)
            start = dice.randrange(len(other) + 1)
            data[at:end] = other[start : start + dice.choice((1, 4, 16, 256))]
