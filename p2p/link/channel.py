"""Plain bytes over a transport that carries sealed ones."""

import os
import select
from collections.abc import Sequence
from typing import Final

import trio

from p2p.errors import LinkClosedError
from p2p.link.agreement import Agreement
from p2p.link.noise import NoiseSession

RECEIVE_BYTES: Final = 256 * 1024
"""What one receive may bring: four full messages, decrypted in one go."""


class SecureChannel:
    """Plain bytes over a byte stream that carries sealed ones. One reader and one writer.

    Over a socket it waits for readiness first and then reads or writes without waiting, which
    saves a turn of the scheduler each time. Writable means what TCP_NOTSENT_LOWAT (set by trio)
    says: the kernel holds little that it could not send yet, so what is bound late stays late.
    """

    def __init__(self, transport: trio.abc.Stream, session: NoiseSession) -> None:
        self._transport = transport
        self._session = session
        self._agreement = Agreement()
        self._socket = transport.socket if isinstance(transport, trio.SocketStream) else None
        self._writable: select.poll | None = None
        if self._socket is not None:
            self._writable = select.poll()
            self._writable.register(self._socket.fileno(), select.POLLOUT)

    def agree_ahead(self, protocol: str) -> None:
        """Ask for a protocol in front of what is sent first; see `Agreement`."""
        self._agreement = Agreement(protocol)

    async def receive(self) -> Sequence[bytes]:
        """The plaintexts that arrived, at least one; empty at the end of the stream.

        Raises WireError for bytes the peer did not seal and for a peer that does not speak the
        protocol asked for, LinkClosedError for a broken transport.
        """
        while True:
            try:
                data = await self._receive_some()
            except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as exc:
                raise LinkClosedError(f"the transport broke: {exc}") from exc
            if not data:
                return ()
            plain = self._session.open(data)
            if plain and self._agreement.is_open:
                plain = [rest for part in plain if (rest := self._agreement.behind(part))]
            if plain:
                return plain

    async def _receive_some(self) -> bytes:
        if self._socket is None:
            return bytes(await self._transport.receive_some(RECEIVE_BYTES))
        while True:
            await trio.lowlevel.wait_readable(self._number(self._socket))
            try:
                return os.read(self._number(self._socket), RECEIVE_BYTES)
            except BlockingIOError:
                continue

    @staticmethod
    def _number(socket: trio.socket.SocketType) -> int:
        """Of an open socket: another may have got the number of one that was closed."""
        number = socket.fileno()
        if number < 0:
            raise LinkClosedError("the transport is closed")
        return number

    async def send(self, data: bytes) -> None:
        """Seal and send; must not be cancelled by anybody who wants to go on using the channel."""
        await self.send_sealed(self.seal(data))

    def seal(self, data: bytes) -> memoryview:
        """Bytes for `send_now` and `send_sealed`, which must get them in this order."""
        if self._agreement.is_open:
            data = self._agreement.before() + data
        return memoryview(self._session.seal(data))

    def send_now(self, sealed: memoryview) -> int:
        """Send as much as the kernel would send on at once; returns how much that was."""
        if self._socket is None or self._writable is None:
            return 0
        number = self._number(self._socket)
        if not self._writable.poll(0):
            return 0
        try:
            return os.write(number, sealed)
        except BlockingIOError:
            return 0
        except OSError as exc:
            raise LinkClosedError(f"the transport broke: {exc}") from exc

    async def send_sealed(self, sealed: memoryview) -> None:
        """Send all of it; LinkClosedError when the transport broke."""
        try:
            if self._socket is None:
                await self._transport.send_all(sealed)
                return
            while sealed:
                await trio.lowlevel.wait_writable(self._number(self._socket))
                sealed = sealed[self.send_now(sealed) :]
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as exc:
            raise LinkClosedError(f"the transport broke: {exc}") from exc

    async def aclose(self) -> None:
        """Close the transport at once."""
        await trio.aclose_forcefully(self._transport)
