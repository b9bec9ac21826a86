"""Length-prefixed frames over a byte stream, sans-I/O: bytes in, whole frames out."""

from collections.abc import Iterator

from p2p.errors import WireError

_PREFIX_BYTES = 4


def frame(payload: bytes) -> bytes:
    """One payload with its 32-bit big-endian length in front."""
    return len(payload).to_bytes(_PREFIX_BYTES) + payload


def payloads_in(data: bytes) -> Iterator[bytes]:
    """Of frames that are all there, one after another. Raises WireError where they end early."""
    at = 0
    while at < len(data):
        start = at + _PREFIX_BYTES
        at = start + int.from_bytes(data[at:start])
        if at > len(data):
            raise WireError("it ends early")
        yield data[start:at]


class FrameReader:
    """Cuts a byte stream into frames; refuses a length before reserving memory for it."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._parts: list[bytes | memoryview] = []
        """What came of a frame that is not whole yet."""
        self._held = 0
        """Bytes in these."""
        self._wanted = _PREFIX_BYTES
        """How much must be there before anything can be said: a prefix, or a whole frame."""

    def feed(self, data: bytes | memoryview) -> list[bytes]:
        """Take what arrived; return the frames now complete.

        Each byte is copied once, however a frame is cut. Raises WireError when the next frame is
        longer than `bytes_max`.
        """
        self._parts.append(data)
        self._held += len(data)
        if self._held < self._wanted:
            return []
        whole = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        frames, at, size = [], 0, len(whole)
        self._wanted = _PREFIX_BYTES
        while size - at >= _PREFIX_BYTES:
            body = at + _PREFIX_BYTES
            length = int.from_bytes(whole[at:body])
            if length > self._bytes_max:
                raise WireError(f"frame of {length} bytes, limit {self._bytes_max}")
            if body + length > size:
                self._wanted = _PREFIX_BYTES + length
                break
            at = body + length
            frames.append(bytes(whole[body:at]))
        self._held = size - at
        self._parts = [bytes(whole[at:])] if self._held else []
        return frames

    @property
    def is_between_frames(self) -> bool:
        """True when an end of stream here would cut nothing off."""
        return not self._held
