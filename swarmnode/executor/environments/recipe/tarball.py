"""Reads a tar archive that somebody hostile may have made: it has one meaning, or is refused."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    class Reads(Protocol):
        def read(self, size: int, /) -> bytes: ...


FILE, LINK, NAME, FOLDER, DEVICE = "file", "link", "name", "folder", "device"
"""`link` is symbolic, `name` one more name of a file."""
_KINDS = {
    b"0": FILE, b"\0": FILE, b"7": FILE, b"1": NAME, b"2": LINK, b"5": FOLDER,
    b"3": DEVICE, b"4": DEVICE, b"6": DEVICE,
}  # fmt: skip
_BLOCK = 512
_PIECE = 1 << 20
_WORDS_MAX = 1 << 20
"""Of what precedes a member: a name has 4,096 bytes, attributes some more."""
_OCTAL_MAX = 8**11
"""From here on a size fits no header, and only the record before it tells."""
_NUMBER_MAX = 1 << 50
"""No archive has such a size; nor is there a place to skip to behind it."""


class RefusedError(Exception):
    """The archive or image is not one that is unpacked; the text says why."""


class TarMember:
    """One name of an archive."""

    def __init__(
        self, name: bytes, kind: str, mode: int, size: int, target: bytes, time_s: int = 0
    ) -> None:
        self.name, self.kind, self.mode, self.size, self.target = name, kind, mode, size, target
        self.time_s = time_s
        """When it was changed last, in whole seconds; 0 where the archive has nothing sensible."""


class Tar:
    """Its members in order; `pieces` are the bytes of the one that came last."""

    def __init__(self, file: "Reads") -> None:
        self._file = file
        self._left = self._pad = 0
        self.at = 0
        """How far into the archive we are."""

    def members(self) -> "Iterator[TarMember]":
        """Raises RefusedError."""
        said: dict[str, bytes] = {}
        while True:
            for _ in self.pieces():
                pass
            block = self._read(_BLOCK, may_end=True)
            if not block.strip(b"\0"):
                return self._end(block)
            kind = block[156:157]
            size = _number(block[124:136])
            _check_sum(block)
            if kind in (b"x", b"g", b"L", b"K"):
                _add(said, kind, self._words(size))
                continue
            yield self._member(block, kind, size, said)
            said = {}

    def pieces(self) -> "Iterator[bytes]":
        """What of the member's bytes was not read yet."""
        while self._left:
            piece = self._read(min(self._left, _PIECE))
            self._left -= len(piece)
            yield piece
        self._read(self._pad)
        self._pad = 0

    def pass_by(self, seek: "Reads") -> None:
        """The member's bytes were skipped in the file itself."""
        self.at += self._left + self._pad
        self._left = self._pad = 0
        seek.seek(self.at)  # type: ignore[attr-defined]

    def _member(self, block: bytes, kind: bytes, size: int, said: "dict[str, bytes]") -> TarMember:
        if kind not in _KINDS:
            raise RefusedError("an entry is of a kind that is not known: %r" % kind)
        told = said.get("size")
        if told is not None:
            size = _agreed(told, size)
        name = said.get("path", _name_in(block))
        what = FOLDER if _KINDS[kind] == FILE and name.endswith(b"/") else _KINDS[kind]
        if what != FILE and size:
            raise RefusedError("an entry that is no file has %d bytes" % size)
        self._left, self._pad = size, -size % _BLOCK
        target = said.get("linkpath", _text(block[157:257]))
        if b"\0" in name or b"\0" in target or len(name) > 4096 or len(target) > 4095:
            raise RefusedError("a name is too long, or no name")
        time_s = _seconds(said.get("mtime", _text(block[136:148]).strip()), "mtime" in said)
        return TarMember(name, what, _number(block[100:108]), size, target, time_s)

    def _words(self, size: int) -> bytes:
        if size > _WORDS_MAX:
            raise RefusedError("what precedes an entry has %d bytes" % size)
        words = self._read(size)
        self._read(-size % _BLOCK)
        return words

    def _end(self, block: bytes) -> None:
        """Two blocks of zeros, or less where the archive was cut off behind its last member."""
        if block and self._read(_BLOCK, may_end=True).strip(b"\0"):
            raise RefusedError("entries follow the end of the archive")

    def _read(self, size: int, *, may_end: bool = False) -> bytes:
        held = b""
        while len(held) < size:
            piece = self._file.read(size - len(held))
            if not piece and may_end and not held:
                break
            if not piece:
                raise RefusedError("the archive ends early")
            held += piece
        self.at += len(held)
        return held


def _add(said: "dict[str, bytes]", kind: bytes, words: bytes) -> None:
    """What an entry says of the next one."""
    if kind == b"L":
        found = [("path", words.rstrip(b"\0"))]
    elif kind == b"K":
        found = [("linkpath", words.rstrip(b"\0"))]
    else:
        found = list(_records(words))
    for key, value in found:
        if key.startswith("GNU.sparse"):
            raise RefusedError("a file with holes as only GNU tar writes it")
        if key == "mtime" and kind != b"g":  # nothing is refused for it: two would harm nobody
            said[key] = value
        if key not in ("path", "linkpath", "size"):
            continue
        if key in said or kind == b"g":
            raise RefusedError("an entry is told its %s twice, or for all" % key)
        said[key] = value


def _records(words: bytes) -> "Iterator[tuple[str, bytes]]":
    at = 0
    while at < len(words):  # nothing is cut off in front: there may be very many, and short ones
        space = words.find(b" ", at, at + 9)
        digits = words[at : max(space, at)]
        length = int(digits) if digits.isdigit() else 0
        record = words[space + 1 : at + length]
        key, equals, value = record.partition(b"=")
        if not length or not equals or at + length > len(words) or not record.endswith(b"\n"):
            raise RefusedError("what precedes an entry is damaged")
        yield key.decode("utf-8", "replace"), value[:-1]
        at += length


def _agreed(told: bytes, size: int) -> int:
    """Of a size before an entry and the one in it; programs read either."""
    is_number = told.isdigit() and len(told) < 16
    has_no_room = is_number and int(told) >= _OCTAL_MAX and size in (0, _OCTAL_MAX - 1)
    if not is_number or (int(told) != size and not has_no_room):
        raise RefusedError("an entry has two sizes that disagree (as in CVE-2025-62518)")
    return int(told)


def _seconds(told: bytes, is_decimal: bool) -> int:
    """Of a record before an entry, with a fraction; or of the entry, to the base of 8."""
    digits = told.partition(b".")[0] if is_decimal else told
    if not digits.isdigit() or len(digits) > 11 or (not is_decimal and digits.strip(b"01234567")):
        return 0
    return int(digits, 10 if is_decimal else 8)


def _check_sum(block: bytes) -> None:
    if _number(block[148:156]) != sum(block[:148]) + 8 * 32 + sum(block[156:]):
        raise RefusedError("an entry's sum is wrong: no archive, or a damaged one")


def _name_in(block: bytes) -> bytes:
    name, before = _text(block[:100]), _text(block[345:500])
    return before + b"/" + name if block[257:263] == b"ustar\0" and before else name


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes) -> int:
    if field[:1] == b"\x80":
        number = int.from_bytes(field[1:], "big")
        if number > _NUMBER_MAX:
            raise RefusedError("an entry has a number that none can be: %r" % field)
        return number
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        raise RefusedError("an entry has a number that is none: %r" % field)
    return int(digits or b"0", 8)
