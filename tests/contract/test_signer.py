"""Both signers: Ed25519 of a node and the keyed hash of big simulations."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.identity.keys import KeySigner
from p2p.ids import PeerId
from p2p.wire.envelope import SIGNATURE_BYTES, Signer
from testnet.sim.signer import KeyedHashSigner

Make = Callable[[int], Signer]
BODIES: list[Make] = [
    lambda at: KeySigner.from_seed(bytes([at]) * 32),
    lambda at: KeyedHashSigner(PeerId(f"peer-{at}")),
]


@pytest.fixture(params=BODIES, ids=["ed25519", "keyed hash"])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


@pytest.mark.parametrize("data", [b"", b"hello", bytes(10_000)])
def test_everybody_can_check_what_one_has_signed(make: Make, data: bytes) -> None:
    alice, bob = make(1), make(2)
    signature = alice.sign(data)
    assert len(signature) == SIGNATURE_BYTES
    assert alice.verifies(alice.peer_id, data, signature)
    assert bob.verifies(alice.peer_id, data, signature)
    assert alice.sign(data) == signature == make(1).sign(data)


def test_another_sender_another_text_or_another_signature_does_not_pass(make: Make) -> None:
    alice, bob = make(1), make(2)
    signature = alice.sign(b"text")
    assert alice.peer_id != bob.peer_id
    assert not bob.verifies(bob.peer_id, b"text", signature)
    assert not bob.verifies(alice.peer_id, b"texT", signature)
    assert not bob.verifies(alice.peer_id, b"text", bob.sign(b"text"))
    assert not bob.verifies(alice.peer_id, b"text", bytes([signature[0] ^ 1]) + signature[1:])


@given(body=st.integers(0, 1), peer=st.text(max_size=60), signature=st.binary(max_size=80))
def test_any_peer_and_any_bytes_are_simply_not_verified(
    body: int, peer: str, signature: bytes
) -> None:
    assert not BODIES[body](1).verifies(PeerId(peer), b"text", signature)
