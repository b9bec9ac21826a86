"""Value types of the network: who, where and how urgent.

A peer id is the libp2p peer id of an Ed25519 key (multihash, base58btc, `12D3KooW...`):
https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md
"""

from enum import IntEnum
from typing import Final, NewType

import msgspec

PeerId = NewType("PeerId", str)
"""A machine: base58btc of the multihash of its Ed25519 public key."""

PersonId = NewType("PersonId", str)
"""A person: the peer id form of the person's own Ed25519 key."""

LabId = NewType("LabId", str)
"""A lab: the peer id form of the lab's root key."""

NetworkId = NewType("NetworkId", str)
"""A network: lower-case base32 of the first 10 bytes of BLAKE3(network public key)."""


class TrafficClass(IntEnum):
    """How urgent a frame is; lower goes first (docs/protocol.md, classes)."""

    CONTROL = 0
    INTERACTIVE = 1
    NORMAL = 2
    BACKGROUND = 3


BULK: Final[tuple[TrafficClass, ...]] = (TrafficClass.NORMAL, TrafficClass.BACKGROUND)
"""Classes that share what the urgent ones leave, and have a connection of their own."""


class Coordinate(msgspec.Struct, frozen=True):
    """A point in Vivaldi space: latency between two peers is about their distance."""

    position: tuple[float, ...] = ()
    height_ms: float = 0.0
