"""Where peers may be dialled, and when it is worth trying again. Pure: the clock is an argument."""

from collections.abc import Sequence

import msgspec

from p2p.host.addresses import Address, parse_address
from p2p.ids import PeerId
from p2p.limits import ADDRESS_BOOK_PEERS_MAX, ADDRESSES_PER_PEER_MAX


class BackOffConfig(msgspec.Struct, frozen=True):
    """How long to leave a peer alone that could not be reached."""

    first_s: float = 1.0
    # A machine that comes back is met again within half a SWIM suspicion.
    most_s: float = 15.0

    def __post_init__(self) -> None:
        if not 0 < self.first_s <= self.most_s:
            raise ValueError("first_s must be positive and at most most_s")


class _Failure(msgspec.Struct):
    count: int
    """In a row: each doubles the pause."""
    retry_s: float
    """Not dialled before that."""
    why: str


class AddressBook:
    """Learned addresses of peers, bounded; the peer learned about longest ago is forgotten."""

    def __init__(self, config: BackOffConfig | None = None) -> None:
        self._config = config or BackOffConfig()
        self._addresses: dict[PeerId, tuple[Address, ...]] = {}
        """By peer, whom we learned about last at the end; at most ADDRESS_BOOK_PEERS_MAX."""
        self._failures: dict[PeerId, _Failure] = {}
        """Peers whose last dial failed, the latest failure last; the same bound."""
        self._hosts: dict[str, int] = {}
        """How many of `_addresses` are at each IP address; none without any."""

    def learn(self, peer: PeerId, texts: Sequence[str]) -> None:
        """Replace what is known of a peer; texts that are no TCP addresses are passed over."""
        kept = tuple(_readable(peer, texts)[:ADDRESSES_PER_PEER_MAX])
        if kept != self._addresses.get(peer):
            self._failures.pop(peer, None)
        self._forget(peer)
        if not kept:
            return
        self._addresses[peer] = kept
        for address in kept:
            self._hosts[address.host] = self._hosts.get(address.host, 0) + 1
        if len(self._addresses) > ADDRESS_BOOK_PEERS_MAX:
            self._forget(next(iter(self._addresses)))

    def of(self, peer: PeerId) -> tuple[Address, ...]:
        """Addresses of a peer, best first."""
        return self._addresses.get(peer, ())

    def is_known_host(self, host: str) -> bool:
        """True when some known peer lives at that IP address."""
        return host in self._hosts

    def failed(self, peer: PeerId, now_s: float, why: str) -> None:
        """A dial failed: the pause doubles each time."""
        count = self._failures[peer].count + 1 if peer in self._failures else 1
        pause_s = min(self._config.first_s * 2.0 ** (count - 1), self._config.most_s)
        self._failures.pop(peer, None)
        self._failures[peer] = _Failure(count, now_s + pause_s, why)
        if len(self._failures) > ADDRESS_BOOK_PEERS_MAX:
            del self._failures[next(iter(self._failures))]

    def reached(self, peer: PeerId) -> None:
        """A connection came about: the next failure starts from the shortest pause."""
        self._failures.pop(peer, None)

    def reason_to_wait(self, peer: PeerId, now_s: float) -> str | None:
        """Why not to dial now, or None."""
        failure = self._failures.get(peer)
        if failure is None or failure.retry_s <= now_s:
            return None
        return f"{failure.why}; next try in {failure.retry_s - now_s:.1f} s"

    def _forget(self, peer: PeerId) -> None:
        for address in self._addresses.pop(peer, ()):
            self._hosts[address.host] -= 1
            if not self._hosts[address.host]:
                del self._hosts[address.host]


def _readable(peer: PeerId, texts: Sequence[str]) -> list[Address]:
    """Those that can be dialled, each once, as addresses of this peer."""
    addresses: list[Address] = []
    for text in texts:
        try:
            address = parse_address(text)
        except ValueError:
            continue
        address = Address(address.kind, address.host, address.port, peer)
        if address.port and address not in addresses:
            addresses.append(address)
    return addresses
