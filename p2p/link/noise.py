"""A Noise session after the handshake, sans-I/O: sealed bytes in, plain bytes out, and back.

On the wire: a 16-bit big-endian length, then that many bytes of ChaCha20-Poly1305 with the
counter as nonce. Every call handles as many messages as there are, because what costs is the
wake-up, not the cipher; a byte is copied once on its way out and, but for the one message that
lies across two receives, never on its way in.
Sources: https://noiseprotocol.org/noise.html section 11.4 and
https://github.com/libp2p/specs/blob/master/noise/README.md
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from p2p.errors import WireError

TAG_BYTES: Final = 16
PLAIN_BYTES_MAX: Final = 65535 - TAG_BYTES
"""Plaintext that fits one message."""

_LENGTH_BYTES: Final = 2
_AROUND_BYTES: Final = _LENGTH_BYTES + TAG_BYTES


class NoiseSession:
    """Seals and opens messages with the two keys the handshake agreed on."""

    def __init__(
        self,
        *,
        send_key: bytes,
        receive_key: bytes,
        send_nonce: int = 0,
        receive_nonce: int = 0,
    ) -> None:
        self._seal_into = ChaCha20Poly1305(send_key).encrypt_into
        self._open_one = ChaCha20Poly1305(receive_key).decrypt
        self._send_nonce = send_nonce
        self._receive_nonce = receive_nonce
        self._begun = bytearray()
        """The beginning of a message whose end has not come yet."""

    def seal(self, data: bytes) -> bytearray:
        """Encrypt any number of bytes as one or more messages, ready for the socket."""
        size = len(data)
        sealed = bytearray(size + _AROUND_BYTES * -(-size // PLAIN_BYTES_MAX))
        out, view = memoryview(sealed), memoryview(data)
        nonce, to = self._send_nonce, 0
        for at in range(0, size, PLAIN_BYTES_MAX):
            piece = view[at : at + PLAIN_BYTES_MAX]
            end = to + _AROUND_BYTES + len(piece)
            out[to : to + _LENGTH_BYTES] = (len(piece) + TAG_BYTES).to_bytes(_LENGTH_BYTES)
            self._seal_into(_nonce(nonce), piece, None, out[to + _LENGTH_BYTES : end])
            nonce, to = nonce + 1, end
        self._send_nonce = nonce
        return sealed

    def open(self, data: bytes | bytearray) -> list[bytes]:
        """Take what the socket gave; return the plaintexts of all messages now complete.

        Raises WireError when a message was not sealed by the peer; the session is then useless.
        """
        plain: list[bytes] = []
        at = self._finish_begun(data, plain) if self._begun else 0
        size = len(data)
        view = memoryview(data)
        while size - at >= _LENGTH_BYTES:
            end = at + _LENGTH_BYTES + (data[at] << 8 | data[at + 1])
            if end > size:
                break
            plain.append(self._open(view[at + _LENGTH_BYTES : end]))
            at = end
        if at < size:
            self._begun += data[at:]
        return plain

    def _finish_begun(self, data: bytes | bytearray, plain: list[bytes]) -> int:
        """Complete the message that lies across receives; how much of `data` belongs to it."""
        begun = self._begun
        at = 0
        if len(begun) < _LENGTH_BYTES:
            begun += data[:1]  # it had its first byte
            at = 1
        needs = _LENGTH_BYTES + (begun[0] << 8 | begun[1]) - len(begun)
        begun += data[at : at + needs]
        if needs <= len(data) - at:
            self._begun = bytearray()
            plain.append(self._open(memoryview(begun)[_LENGTH_BYTES:]))
        return min(at + needs, len(data))

    def _open(self, sealed: memoryview) -> bytes:
        try:
            plain = self._open_one(_nonce(self._receive_nonce), sealed, None)
        except InvalidTag as exc:
            raise WireError("a message fails its seal") from exc
        self._receive_nonce += 1
        return plain


def _nonce(number: int) -> bytes:
    """Four zero bytes, then the counter, little-endian."""
    return (number << 32).to_bytes(12, "little")
