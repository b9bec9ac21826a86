"""Addresses that stand for names, in one job. Decides only.

They are of 198.18.0.0/15, which no host of the internet has (RFC 2544). The n-th name that a job
looks up has the n-th of them until the job has ended, whatever happens to nodes meanwhile.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final

from swarmnode.executor.network.limits import NAMES_MAX

RANGE: Final = ipaddress.IPv4Network("198.18.0.0/15")
_FIRST: Final = int(RANGE.network_address) + 1


class NameTable:
    """Those of one job."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        """`known`: what a node before us gave addresses to, in order."""
        self._names = list(known)[:NAMES_MAX]
        self._numbers = {name: number for number, name in enumerate(self._names)}

    def address_of(self, name: str) -> ipaddress.IPv4Address | None:
        """Its address, a new one when it has none; None when the table is full."""
        number = self._numbers.get(name)
        if number is None:
            if len(self._names) >= NAMES_MAX:
                return None
            number = self._numbers[name] = len(self._names)
            self._names.append(name)
        return ipaddress.IPv4Address(_FIRST + number)

    @property
    def is_full(self) -> bool:
        """No further name is given one."""
        return len(self._names) >= NAMES_MAX

    def knows(self, name: str) -> bool:
        """Whether it has an address."""
        return name in self._numbers

    def name_at(self, address: str) -> str:
        """Whose address it is; empty if nobody's."""
        number = int(ipaddress.IPv4Address(address)) - _FIRST
        return self._names[number] if 0 <= number < len(self._names) else ""
