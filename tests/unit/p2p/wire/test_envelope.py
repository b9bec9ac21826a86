"""A signature holds for one sender, one purpose, one network, and every byte."""

import hashlib

import msgspec
import pytest

from p2p.errors import WireError
from p2p.ids import NetworkId, PeerId
from p2p.wire.codec import Record
from p2p.wire.envelope import Signed, open_signed, seal

NET = NetworkId("net")


class Offer(Record, frozen=True):
    """What alice signs."""

    price: int


class KeyedHash:
    """A signer whose key is its name: enough to see what is covered."""

    def __init__(self, name: str) -> None:
        self.peer_id = PeerId(name)

    def sign(self, data: bytes) -> bytes:
        return hashlib.sha512(self.peer_id.encode() + data).digest()

    def verifies(self, peer: PeerId, data: bytes, signature: bytes) -> bool:
        return hashlib.sha512(peer.encode() + data).digest() == signature

    def from_seed(self, seed: bytes) -> "KeyedHash":
        return KeyedHash(seed.hex())


ALICE = KeyedHash("alice")


def sealed() -> Signed:
    return seal(ALICE, NET, "offer", Offer(7), sequence=1, expires_ms=99)


def test_what_was_signed_is_what_is_read() -> None:
    assert open_signed(ALICE, NET, "offer", Offer, sealed()) == Offer(7)


@pytest.mark.parametrize(
    "change",
    [
        {"sender": "bob"},
        {"sequence": 2},
        {"expires_ms": 100},
        {"payload": b"\x91\x08"},
        {"signature": b"x" * 64},
        {"version": 2},
        {"network": "other"},
        {"domain": "award"},
    ],
)
def test_no_field_can_be_changed(change: dict[str, object]) -> None:
    forged = msgspec.structs.replace(sealed(), **change)
    with pytest.raises(WireError):
        open_signed(ALICE, NET, "offer", Offer, forged)


def test_a_signature_for_one_purpose_is_none_for_another() -> None:
    moved = msgspec.structs.replace(sealed(), domain="award")
    with pytest.raises(WireError):
        open_signed(ALICE, NET, "award", Offer, moved)
