"""Which sockets may wait at the door: a pure core that bounds connections not yet admitted.

A stock libp2p host is locked out by 300 sockets that say nothing. Here every address, every
prefix and the whole node have a cap; a newcomer is never refused, instead the connection that
deserves its place least goes: silent before speaking, strange before known, old before new.
"""

import ipaddress
from dataclasses import dataclass

from p2p.limits import (
    PENDING_MAX,
    PENDING_PER_ADDRESS_MAX,
    PENDING_PER_PREFIX_MAX,
    UPGRADE_DEADLINE_S,
)


@dataclass(frozen=True, slots=True)
class GuardConfig:
    """Caps on connections that are not admitted yet."""

    pending_max: int = PENDING_MAX
    per_address_max: int = PENDING_PER_ADDRESS_MAX
    per_prefix_max: int = PENDING_PER_PREFIX_MAX
    upgrade_deadline_s: float = UPGRADE_DEADLINE_S

    def __post_init__(self) -> None:
        if not 0 < self.per_address_max <= self.per_prefix_max <= self.pending_max:
            raise ValueError("caps must grow from address to prefix to all")


@dataclass(slots=True)
class _Pending:
    number: int
    address: str
    prefix: str
    is_known: bool
    has_spoken: bool = False


class AcceptGuard:
    """Counts the sockets at the door and names who has to leave."""

    def __init__(self, config: GuardConfig | None = None) -> None:
        self.config = config or GuardConfig()
        self._pending: dict[int, _Pending] = {}
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._pending)

    def arrived(self, number: int, host: str, *, is_known: bool = False) -> list[int]:
        """A socket from `host` was accepted under a number that grows; who must go for it."""
        address, prefix = groups_of(host)
        newcomer = self._pending[number] = _Pending(number, address, prefix, is_known)
        victims: list[int] = []
        for group, group_max in (
            ([p for p in self._pending.values() if p.address == address], "address"),
            ([p for p in self._pending.values() if p.prefix == prefix], "prefix"),
            (list(self._pending.values()), "all"),
        ):
            standing = [p for p in group if p.number not in victims]
            if len(standing) > self._cap(group_max):
                standing.remove(newcomer)
                victims.append(min(standing, key=_worth).number)
        for victim in victims:
            del self._pending[victim]
        self.dropped += len(victims)
        return victims

    def spoke(self, number: int) -> None:
        """The first bytes came."""
        if number in self._pending:
            self._pending[number].has_spoken = True

    def left(self, number: int) -> None:
        """Admitted, refused or gone: the place is free."""
        self._pending.pop(number, None)

    def _cap(self, group: str) -> int:
        return {
            "address": self.config.per_address_max,
            "prefix": self.config.per_prefix_max,
            "all": self.config.pending_max,
        }[group]


def _worth(pending: _Pending) -> tuple[bool, bool, int]:
    return pending.is_known, pending.has_spoken, pending.number


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
