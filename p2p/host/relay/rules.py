"""Which relay is asked, and what a relay says to that: plain rules, without a clock."""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Final

import msgspec

from p2p.host.relay.limits import (
    CIRCUITS_BULK_MAX,
    CIRCUITS_BULK_PER_PEER_MAX,
    CIRCUITS_MAX,
    CIRCUITS_PER_PAIR_MAX,
    CIRCUITS_PER_PEER_MAX,
)
from p2p.ids import PeerId

REFUSALS: Final[Mapping[str, str]] = {
    "off": "it carries nothing for others ([network] relay)",
    "relayed": "it is itself reached by relay from here, and a circuit has one hop",
    "self": "a circuit has two ends, and neither is the relay",
    "absent": "it has no direct connection to that machine",
    "full": "it carries as many circuits as it may",
    "busy": "it was asked too often",
    "silent": "the other end did not answer",
    "declined": "the other end does not take circuits",
}
"""By code, what a refusal means; a peer's own words are never shown in place of it."""


class Circuit(msgspec.Struct, eq=False):
    """One that is carried, or is about to be."""

    source: PeerId
    target: PeerId
    is_bulk: bool
    carried_bytes: int = 0
    """Both ways together."""


def in_order(me: PeerId, peer: PeerId, relays: Iterable[PeerId]) -> list[PeerId]:
    """Relays for a pair, first to ask first: the same from both ends, another for other pairs.

    Highest random weight (Thaler, Ravishankar 1998): circuits spread over all relays, and the end
    of one moves its own only.
    """
    ends = "/".join(sorted((me, peer)))
    weights = {
        relay: blake2b(f"{ends}/{relay}".encode(), digest_size=8).digest() for relay in relays
    }
    return sorted(weights, key=lambda relay: (weights[relay], relay))


def why_full(circuits: Iterable[Circuit], wanted: Circuit) -> str | None:
    """`full` when there is no room for one more of that kind, of either end or both; else None."""
    alike = [circuit for circuit in circuits if circuit.is_bulk == wanted.is_bulk]
    all_max = CIRCUITS_BULK_MAX if wanted.is_bulk else CIRCUITS_MAX
    each_max = CIRCUITS_BULK_PER_PEER_MAX if wanted.is_bulk else CIRCUITS_PER_PEER_MAX
    if len(alike) >= all_max:
        return "full"
    for end in (wanted.source, wanted.target):
        if sum(end in (circuit.source, circuit.target) for circuit in alike) >= each_max:
            return "full"
    pair = {wanted.source, wanted.target}
    are_many = sum(pair == {one.source, one.target} for one in alike) >= CIRCUITS_PER_PAIR_MAX
    return "full" if are_many else None


def meaning_of(code: str) -> str:
    """What a peer's refusal means, in our words."""
    return REFUSALS.get(code, "it refuses, for a reason that this version does not know")


def circuit_text(relay: PeerId, peer: PeerId) -> str:
    """A way by relay as it is written, as libp2p writes it."""
    return f"/p2p/{relay}/p2p-circuit/p2p/{peer}"
