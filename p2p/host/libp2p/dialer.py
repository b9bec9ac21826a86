"""From addresses to a connection: resolve, connect, shake hands; or say what was in the way."""

import socket
from collections.abc import Awaitable, Callable, Sequence

import trio
from libp2p.peer.id import ID
from libp2p.transport.upgrader import TransportUpgrader

from p2p.errors import DialError, IdentityError
from p2p.host.addresses import Address
from p2p.host.libp2p.bridge import MuxedLink
from p2p.host.libp2p.handshake_socket import is_multistream
from p2p.host.libp2p.upgrade import UpgradeError, upgrade
from p2p.host.peers.config import DialConfig
from p2p.identity.keys import public_key_of
from p2p.ids import PeerId
from p2p.limits import ADDRESSES_PER_PEER_MAX

_CAUSES_BY_WORTH = ("dns", "port", "proxy", "peer")


Attempt = Callable[[], Awaitable[tuple[MuxedLink, Address]]]


class Dialer:
    """Opens connections to a peer whose id is known; whoever else answers is refused."""

    def __init__(self, upgrader: TransportUpgrader, config: DialConfig | None = None) -> None:
        self._upgrader = upgrader
        self._config = config or DialConfig()

    async def connect(
        self, peer: PeerId, addresses: Sequence[Address]
    ) -> tuple[MuxedLink, Address]:
        """The first of the addresses that answers as `peer`; DialError of the closest miss.

        The connection returned is not running yet; its socket is open.
        """
        try:
            public_key_of(peer)
        except IdentityError as exc:
            raise DialError(str(addresses[0]), "peer", str(exc)) from exc
        attempts = [self._attempt(peer, address) for address in addresses[:ADDRESSES_PER_PEER_MAX]]
        if len(attempts) == 1:
            return await attempts[0]()
        return await _DialRace(self._config.stagger_s).run(attempts)

    def _attempt(self, peer: PeerId, address: Address) -> Attempt:
        async def attempt() -> tuple[MuxedLink, Address]:
            try:
                with trio.fail_after(self._config.within_s):
                    stream = await self._open_socket(address)
                    return await self._shake_hands(stream, peer, address), address
            except trio.TooSlowError:
                detail = f"no connection within {self._config.within_s:g} s"
            raise DialError(str(address), "port", detail)

        return attempt

    async def _open_socket(self, address: Address) -> trio.SocketStream:
        name, port = address.host, address.port
        if address.is_name:
            resolved = await self._resolve(address)
            name = resolved if address.kind != "dns" else name  # any of its addresses will do
        try:
            with trio.fail_after(self._config.connect_within_s):
                return await trio.open_tcp_stream(name, port)
        except trio.TooSlowError:
            detail = f"nothing answered at {name} port {port}: is the machine up, a firewall open?"
        except OSError as exc:
            detail = f"{name} port {port} refuses connections: is the node running there? ({exc})"
        raise DialError(str(address), "port", detail)

    async def _resolve(self, address: Address) -> str:
        families = {"dns4": socket.AF_INET, "dns6": socket.AF_INET6}
        family = families.get(address.kind, socket.AF_UNSPEC)
        try:
            with trio.fail_after(self._config.resolve_within_s):
                resolved = await trio.socket.getaddrinfo(
                    address.host, address.port, family, socket.SOCK_STREAM
                )
        except trio.TooSlowError:
            detail = f"the name {address.host} was not resolved in time: check this machine's DNS"
        except (OSError, UnicodeError) as exc:
            detail = f"the name {address.host} has no address: check its spelling ({exc})"
        else:
            return str(resolved[0][4][0])
        raise DialError(str(address), "dns", detail)

    async def _shake_hands(
        self, stream: trio.SocketStream, peer: PeerId, address: Address
    ) -> MuxedLink:
        try:
            with trio.fail_after(self._config.upgrade_within_s):
                return await upgrade(self._upgrader, stream, ID.from_string(peer))
        except trio.TooSlowError:
            cause, detail = "port", "something accepted the connection and then said nothing"
        except UpgradeError as exc:
            cause, detail = _diagnosis(exc)
        raise DialError(str(address), cause, detail)


def _diagnosis(error: UpgradeError) -> tuple[str, str]:
    if error.is_other_peer:
        return "peer", "another machine answers at this address: ask for a new invite"
    if error.heard.startswith(b"HTTP/"):
        return "proxy", "an HTTP proxy or web server answered instead of a node"
    if not is_multistream(error.heard):
        return "port", "another program answers at this port, not a node"
    if not error.heard:
        return "port", "the other end closed the connection at once: is that a node's port?"
    return "peer", f"the handshake failed ({error})"


class _DialRace:
    """Runs attempts one after the other, each a little before the last has given up."""

    def __init__(self, stagger_s: float) -> None:
        self._stagger_s = stagger_s
        self._winner: tuple[MuxedLink, Address] | None = None
        self._errors: list[DialError] = []

    async def run(self, attempts: Sequence[Attempt]) -> tuple[MuxedLink, Address]:
        """The first success, or the most telling DialError."""
        async with trio.open_nursery() as nursery:
            for attempt in attempts:
                over = trio.Event()
                nursery.start_soon(self._run_one, attempt, over, nursery.cancel_scope)
                with trio.move_on_after(self._stagger_s):
                    await over.wait()
        if self._winner is not None:
            return self._winner
        worst = max(self._errors, key=lambda error: _CAUSES_BY_WORTH.index(error.cause))
        tried = tuple(failure for error in self._errors for failure in error.tried)
        raise DialError(worst.address, worst.cause, worst.detail, tried)

    async def _run_one(self, attempt: Attempt, over: trio.Event, race: trio.CancelScope) -> None:
        try:
            dialled = await attempt()
        except DialError as exc:
            self._errors.append(exc)
        else:
            if self._winner is None:
                self._winner = dialled
                race.cancel()
            else:
                await dialled[0].secured_conn.close()
        finally:
            over.set()
