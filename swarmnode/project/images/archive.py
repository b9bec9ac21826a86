"""Headers of a tar archive that is written here, as GNU tar has them. Pure."""

from typing import Final

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)
FILE, LINK, FOLDER = b"0", b"2", b"5"
_LONG_NAME, _LONG_TARGET = b"L", b"K"
_FIELD: Final = 100
"""Of a name: a longer one stands before, as an entry of its own."""
_OCTAL_MAX: Final = 8**11
_BEFORE: Final = b"././@LongLink"


def header(
    kind: bytes,
    name: bytes,
    *,
    size: int = 0,
    target: bytes = b"",
    runs: bool = False,
    time_s: int = 0,
) -> bytes:
    """Of one entry; its bytes follow, filled up to whole blocks. Nobody's."""
    long = b""
    for mark, text in ((_LONG_NAME, name), (_LONG_TARGET, target)):
        if len(text) > _FIELD:
            data = text + b"\0"
            long += _block(mark, _BEFORE, len(data), b"", 0o644) + data + bytes(-len(data) % BLOCK)
    mode = 0o755 if runs or kind == FOLDER else 0o644
    return long + _block(kind, name[:_FIELD], size, target[:_FIELD], mode, time_s)


def _block(kind: bytes, name: bytes, size: int, target: bytes, mode: int, time_s: int = 0) -> bytes:
    length = b"%011o\0" % size if size < _OCTAL_MAX else b"\x80" + size.to_bytes(11, "big")
    time = b"%011o\0" % (time_s if 0 <= time_s < _OCTAL_MAX else 0)
    head = name.ljust(_FIELD, b"\0") + b"%07o\0" % mode + 2 * b"0000000\0" + length + time
    tail = kind + target.ljust(_FIELD, b"\0") + b"ustar  \0"
    tail = tail.ljust(BLOCK - len(head) - 8, b"\0")
    return head + b"%06o\0 " % (sum(head) + 8 * 32 + sum(tail)) + tail
