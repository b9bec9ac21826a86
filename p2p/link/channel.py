"""Plain bytes over a transport that carries sealed ones."""

from collections.abc import Sequence
from typing import Final

import trio

from p2p.errors import LinkClosedError
from p2p.link.noise import NoiseSession

RECEIVE_BYTES: Final = 256 * 1024
"""What one receive may bring: four full messages, decrypted in one go."""


class SecureChannel:
    """Plain bytes over a byte stream that carries sealed ones. One reader and one writer."""

    def __init__(self, transport: trio.abc.Stream, session: NoiseSession) -> None:
        self._transport = transport
        self._session = session

    async def receive(self) -> Sequence[bytes]:
        """The plaintexts that arrived, at least one; empty at the end of the stream.

        Raises WireError for bytes the peer did not seal, LinkClosedError for a broken transport.
        """
        while True:
            try:
                data = await self._transport.receive_some(RECEIVE_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                raise LinkClosedError(f"the transport broke: {exc}") from exc
            if not data:
                return ()
            plain = self._session.open(bytes(data))
            if plain:
                return plain

    async def send(self, data: bytes) -> None:
        """Seal and send; must not be cancelled by anybody who wants to go on using the channel."""
        try:
            await self._transport.send_all(self._session.seal(data))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise LinkClosedError(f"the transport broke: {exc}") from exc

    async def aclose(self) -> None:
        """Close the transport at once."""
        await trio.aclose_forcefully(self._transport)
