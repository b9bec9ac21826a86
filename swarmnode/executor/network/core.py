"""What becomes of the questions and connections of one job's programs. Decides only.

Refusals are told once each, in words that say what would allow them; after NOTES_MAX of them
nothing more is told.
"""

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from swarmnode import reach
from swarmnode.errors import NetRefusedError
from swarmnode.executor.network import addresses, dns
from swarmnode.executor.network.limits import (
    ADDRESSES_MAX,
    CONNECTIONS_MAX,
    NAMES_MAX,
    NOTES_MAX,
)
from swarmnode.executor.network.names import RANGE, NameTable

MIRROR_PORT: Final = 80


class SocketPlace(NamedTuple):
    """Where a host is: what is dialled."""

    address: str
    port: int


class Target(NamedTuple):
    """Who a program wants to talk to: by the name it looked up, or by a literal address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class TaskNet:
    """One job's."""

    def __init__(self, words: Sequence[str], private: Sequence[str], names: NameTable) -> None:
        """`words`: what the task may reach; `private`: private hosts that the owner lets it."""
        self._words, self._names = words, names
        self._private = tuple(map(reach.private_host, private))
        self._told: set[str] = set()
        """What was said already."""

    def answer(self, query: bytes) -> tuple[bytes, str]:
        """To a question of DNS (nothing: to none), and the name, if it is a new one."""
        question = dns.read(query)
        if question is None:
            return b"", ""
        name = question.name
        if not reach.is_name(name) or reach.is_literal(name):
            return question.reply(dns.NO_SUCH_NAME), ""
        if question.kind != dns.TYPE_A:
            return question.reply(dns.NO_ERROR), ""
        is_new = not self._names.knows(name)
        address = self._names.address_of(name)
        if address is None:
            return question.reply(dns.FAILED), ""
        return question.reply(dns.NO_ERROR, address.packed), name if is_new else ""

    @property
    def is_full(self) -> bool:
        """No further name is given an address."""
        return self._names.is_full

    def target(self, address: str, port: int) -> Target | None:
        """Whom a connection is for; None for an address that stands for no name."""
        if ipaddress.IPv4Address(address) not in RANGE:
            return Target(address, port)
        name = self._names.name_at(address)
        return Target(name, port) if name else None

    def refusal(self, target: Target) -> str:
        """Why it may not be reached, for the task's log; empty when it may."""
        if reach.allows(self._words, target.host, target.port):
            return ""
        if self._is_inside(target):
            return f"refused: {target} is on the inside of the machine that runs this task"
        more = reach.with_host(self._words, target.host, target.port)
        return f"refused: {target}; this task may reach {reach.named(self._words)} (--net {more})"

    def mirror(self, target: Target) -> str:
        """Of which preset a mirror is wanted; empty for other hosts.

        Raises NetRefusedError for a task that may not reach what it is a mirror of.
        """
        preset = next((one for one, name in reach.MIRRORS.items() if name == target.host), "")
        if preset and not reach.has_mirror(self._words, preset):
            raise NetRefusedError(
                f"refused: {target.host}, a mirror of {preset}; this task may reach "
                f"{reach.named(self._words)} (--net {','.join([*self._words, preset])})"
            )
        if preset and target.port != MIRROR_PORT:
            raise NetRefusedError(f"refused: {target}; the mirror is at port {MIRROR_PORT}")
        return preset

    def _is_inside(self, target: Target) -> bool:
        """A literal address that no `--net` would allow."""
        return reach.is_literal(target.host) and not addresses.is_open(target.host)

    def allowed(
        self, target: Target, found: Iterable[SocketPlace], is_own: Callable[[str], bool]
    ) -> tuple[Sequence[SocketPlace], str]:
        """Where to dial a host that was found there, and why nowhere.

        An address that is not of the internet spoils all: whoever gives out both wants us to err.
        """
        found = list(dict.fromkeys(found))[:ADDRESSES_MAX]
        if addresses.is_let(self._private, *target):
            return found, ""
        for address, _ in found:
            if addresses.is_let(self._private, address, target.port):
                continue
            if not addresses.is_open(address) or is_own(address):
                return (), (
                    f"refused: {target} has the address {address}, on the inside of the machine "
                    "that runs this task; only its owner can allow that ([compute] net_private)"
                )
        return found, ""

    def is_to_tell(self, words: str) -> bool:
        """Whether they are new, and not too many."""
        if words in self._told or len(self._told) >= NOTES_MAX:
            return False
        self._told.add(words)
        return True

    def last_words(self) -> str:
        """What is said when nothing more is."""
        return "further refusals are not told" if len(self._told) == NOTES_MAX else ""


def too_many(held: int) -> str:
    """Why a task that holds so many connections gets no more."""
    if held >= CONNECTIONS_MAX:
        return f"refused: more than {CONNECTIONS_MAX} connections at once"
    return "refused: this machine's node may open too few files for more connections of its tasks"


TOO_MANY_NAMES = f"no more names are looked up: this task has asked for {NAMES_MAX}"
