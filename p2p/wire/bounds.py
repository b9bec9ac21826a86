"""Depth and size of a MessagePack value, checked before anything is decoded.

MessagePack amplifies: one byte 0x80 becomes an empty dict of 64 bytes. This walk touches each
value once, builds nothing, and so costs a hostile sender as much as us.
Source: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from p2p.errors import WireError
from p2p.limits import DECODE_DEPTH_MAX, DECODE_NODES_MAX

_FIXED_BYTES = {
    0xC0: 1, 0xC2: 1, 0xC3: 1,
    0xCA: 5, 0xCB: 9,
    0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9,
    0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9,
}  # fmt: skip
_COUNTED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_ARRAYS = {0xDC: 2, 0xDD: 4}


def check_bounds(data: bytes) -> None:
    """Raise WireError unless `data` is one value within the depth and node limits.

    Maps and extension types are refused: no message of ours has them.
    """
    left = [1]  # values still expected at each open level
    at, nodes, size = 0, 0, len(data)
    while left:
        if left[-1] == 0:
            left.pop()
            continue
        left[-1] -= 1
        nodes += 1
        if nodes > DECODE_NODES_MAX or at >= size:
            raise WireError("message has too many values or ends early")
        code = data[at]
        if code <= 0x7F or code >= 0xE0:
            at += 1
        elif 0xA0 <= code <= 0xBF:
            at += 1 + (code & 0x1F)
        elif 0x90 <= code <= 0x9F:
            at += 1
            left.append(code & 0x0F)
        elif code in _FIXED_BYTES:
            at += _FIXED_BYTES[code]
        elif code in _COUNTED:
            width = _COUNTED[code]
            at += 1 + width + int.from_bytes(data[at + 1 : at + 1 + width])
        elif code in _ARRAYS:
            width = _ARRAYS[code]
            left.append(int.from_bytes(data[at + 1 : at + 1 + width]))
            at += 1 + width
        else:
            raise WireError(f"message holds a value of type 0x{code:02x}, which no message has")
        if len(left) > DECODE_DEPTH_MAX + 1:
            raise WireError(f"message is nested deeper than {DECODE_DEPTH_MAX}")
    if at != size:
        raise WireError("message is cut short or followed by other bytes")
