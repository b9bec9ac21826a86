"""A Noise session after the handshake, sans-I/O: sealed bytes in, plain bytes out, and back.

On the wire: a 16-bit big-endian length, then that many bytes of ChaCha20-Poly1305 with the
counter as nonce. Every call handles as many messages as there are, because what costs is the
wake-up, not the cipher.
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

_NONCE_PAD: Final = bytes(4)


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
        self._seal_one = ChaCha20Poly1305(send_key).encrypt
        self._open_one = ChaCha20Poly1305(receive_key).decrypt
        self._send_nonce = send_nonce
        self._receive_nonce = receive_nonce
        self._buffer = bytearray()

    def seal(self, data: bytes) -> bytes:
        """Encrypt any number of bytes as one or more messages, ready for the socket."""
        parts: list[bytes] = []
        nonce = self._send_nonce
        view = memoryview(data)
        for at in range(0, len(data), PLAIN_BYTES_MAX):
            piece = view[at : at + PLAIN_BYTES_MAX]
            parts.append((len(piece) + TAG_BYTES).to_bytes(2))
            parts.append(self._seal_one(_NONCE_PAD + nonce.to_bytes(8, "little"), piece, None))
            nonce += 1
        self._send_nonce = nonce
        return b"".join(parts)

    def open(self, data: bytes) -> list[bytes]:
        """Take what the socket gave; return the plaintexts of all messages now complete.

        Raises WireError when a message was not sealed by the peer; the session is then useless.
        """
        buffer = self._buffer
        buffer += data
        plain: list[bytes] = []
        at, size, nonce = 0, len(buffer), self._receive_nonce
        with memoryview(buffer) as view:
            while size - at >= 2:
                end = at + 2 + (view[at] << 8 | view[at + 1])
                if end > size:
                    break
                sealed = view[at + 2 : end]
                plain.append(self._open(nonce, sealed))
                sealed.release()
                nonce += 1
                at = end
        self._receive_nonce = nonce
        if at:
            del buffer[:at]
        return plain

    def _open(self, nonce: int, sealed: memoryview) -> bytes:
        try:
            return self._open_one(_NONCE_PAD + nonce.to_bytes(8, "little"), sealed, None)
        except InvalidTag as exc:
            raise WireError("a message fails its seal") from exc
