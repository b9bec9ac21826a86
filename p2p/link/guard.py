"""Which sockets may wait at the door: a pure core that bounds connections not yet admitted.

A stock libp2p host is locked out by 300 sockets that say nothing. Here silence is capped per
address, strangers are capped per prefix, and all that wait together. A newcomer takes the place of
whoever deserves it least: a stranger before a known peer, a silent one before one that speaks, one
that speaks before one that has proved a key, and the oldest first. So every place is reserved for
known peers, who only give way to each other; and a known peer that has proved its key counts for
no address and no prefix, so that a whole lab behind one address can come back at once.
"""

import ipaddress
from collections.abc import Callable
from enum import IntEnum

import msgspec

from p2p.limits import (
    PENDING_MAX,
    PENDING_PER_ADDRESS_MAX,
    PENDING_PER_PREFIX_MAX,
    UPGRADE_DEADLINE_S,
)


class GuardConfig(msgspec.Struct, frozen=True):
    """Caps on connections that are not admitted yet."""

    pending_max: int = PENDING_MAX
    per_address_max: int = PENDING_PER_ADDRESS_MAX
    """Of those that have not said anything."""
    per_prefix_max: int = PENDING_PER_PREFIX_MAX
    """Of all but known peers that have proved their key."""
    upgrade_deadline_s: float = UPGRADE_DEADLINE_S

    def __post_init__(self) -> None:
        if not 0 < self.per_address_max <= self.per_prefix_max <= self.pending_max:
            raise ValueError("caps must grow from address to prefix to all")


class _Stage(IntEnum):
    SILENT = 0
    SPOKE = 1
    PROVED = 2


class _DoorSocket(msgspec.Struct):
    number: int
    """Grows with every arrival."""
    address: str
    """Its own; of an IPv6 one the /64 (`groups_of`)."""
    prefix: str
    """The /24 or /48 around it."""
    is_known: bool
    """A peer we know lives at its address; once its key is proved, it is a known peer's."""
    stage: _Stage = _Stage.SILENT
    """Only ever grows."""

    @property
    def is_member(self) -> bool:
        return self.is_known and self.stage is _Stage.PROVED


class AcceptGuard:
    """Counts the sockets at the door and names who has to leave."""

    def __init__(self, config: GuardConfig | None = None) -> None:
        self.config = config or GuardConfig()
        self._pending: dict[int, _DoorSocket] = {}
        """By number; at most `pending_max`."""
        self._by_prefix: dict[str, dict[int, _DoorSocket]] = {}
        """The same by prefix: the two hold the same, and no prefix is empty."""
        self.dropped = 0
        """Sockets that had to make room, since the start."""

    def __len__(self) -> int:
        return len(self._pending)

    def arrived(self, number: int, host: str, *, is_known: bool = False) -> list[int]:
        """A socket from `host` was accepted under a number that grows; who must go for it.

        That can be the newcomer itself: a stranger, where only known peers wait.
        """
        address, prefix = groups_of(host)
        newcomer = self._pending[number] = _DoorSocket(number, address, prefix, is_known)
        here = self._by_prefix.setdefault(prefix, {})
        here[number] = newcomer
        victims: list[int] = []
        is_silent = _is_silent_at(address)
        self._make_room(newcomer, here, self.config.per_address_max, is_silent, victims)
        self._make_room(newcomer, here, self.config.per_prefix_max, _is_no_member, victims)
        self._make_room(newcomer, self._pending, self.config.pending_max, _is_anybody, victims)
        self.dropped += len(victims)
        return victims

    def spoke(self, number: int) -> None:
        """The first bytes came."""
        if number in self._pending:
            self._pending[number].stage = max(self._pending[number].stage, _Stage.SPOKE)

    def proved(self, number: int, *, is_known: bool) -> None:
        """The handshake is done; `is_known` says whether the key is one of a peer we know."""
        if number in self._pending:
            self._pending[number].stage = _Stage.PROVED
            self._pending[number].is_known = is_known

    def left(self, number: int) -> None:
        """Admitted, refused or gone: the place is free."""
        pending = self._pending.pop(number, None)
        if pending is None:
            return
        here = self._by_prefix[pending.prefix]
        del here[number]
        if not here:
            del self._by_prefix[pending.prefix]

    def _make_room(
        self,
        newcomer: _DoorSocket,
        group: dict[int, _DoorSocket],
        most: int,
        counts: Callable[[_DoorSocket], bool],
        victims: list[int],
    ) -> None:
        if len(group) <= most or newcomer.number in victims:
            return
        counted = [pending for pending in group.values() if counts(pending)]
        if len(counted) <= most:
            return
        counted.remove(newcomer)
        least = min(counted, key=_worth)
        if least.is_known and not newcomer.is_known:
            least = newcomer
        self.left(least.number)
        victims.append(least.number)


def _worth(pending: _DoorSocket) -> tuple[bool, int, int]:
    return pending.is_known, pending.stage, pending.number


def _is_silent_at(address: str) -> Callable[[_DoorSocket], bool]:
    return lambda pending: pending.stage is _Stage.SILENT and pending.address == address


def _is_no_member(pending: _DoorSocket) -> bool:
    return not pending.is_member


def _is_anybody(pending: _DoorSocket) -> bool:
    return True


def groups_of(host: str) -> tuple[str, str]:
    """The address (an IPv6 /64 counts as one) and the prefix (/24 or /48) a host belongs to."""
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host, host
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is None:
            return str(ipaddress.ip_network((ip, 64), False)), str(
                ipaddress.ip_network((ip, 48), False)
            )
        ip = ip.ipv4_mapped
    return str(ip), str(ipaddress.ip_network((ip, 24), False))
