"""Length-prefixed frames over a byte stream, sans-I/O: bytes in, whole frames out."""

from p2p.errors import WireError

_PREFIX_BYTES = 4


def frame(payload: bytes) -> bytes:
    """One payload with its 32-bit big-endian length in front."""
    return len(payload).to_bytes(_PREFIX_BYTES) + payload


class FrameReader:
    """Cuts a byte stream into frames; refuses a length before reserving memory for it."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take what arrived; return the frames now complete.

        Raises WireError when the next frame is longer than `bytes_max`.
        """
        buffer = self._buffer
        buffer += data
        frames, at, size = [], 0, len(buffer)
        while size - at >= _PREFIX_BYTES:
            end = at + _PREFIX_BYTES + int.from_bytes(buffer[at : at + _PREFIX_BYTES])
            length = end - at - _PREFIX_BYTES
            if length > self._bytes_max:
                raise WireError(f"frame of {length} bytes, limit {self._bytes_max}")
            if end > size:
                break
            frames.append(bytes(memoryview(buffer)[at + _PREFIX_BYTES : end]))
            at = end
        if at:
            del buffer[:at]
        return frames

    @property
    def is_between_frames(self) -> bool:
        """True when an end of stream here would cut nothing off."""
        return not self._buffer
