"""What is sealed for the owner of a key."""

import os
from hashlib import sha512

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from p2p.identity.keys import KeySigner, peer_id_of, public_key_of
from swarmnode.errors import SnapshotError
from swarmnode.recovery.box import _montgomery, open_box, seal_to

ALICE, BOB = bytes(range(32)), bytes(32)


def id_of(seed: bytes) -> str:
    return KeySigner.from_seed(seed).peer_id


def test_only_the_seed_of_that_key_opens_it_and_only_for_its_purpose() -> None:
    for text in (b"", b"where the copy is" * 100):
        sealed = seal_to(id_of(ALICE), "keyring", text, os.urandom)
        assert text not in sealed[32:] or not text
        assert open_box(ALICE, "keyring", sealed) == text
        for seed, purpose in ((BOB, "keyring"), (ALICE, "other")):
            with pytest.raises(SnapshotError, match="another key"):
                open_box(seed, purpose, sealed)


def test_of_two_boxes_with_the_same_text_nobody_sees_that_it_is_the_same() -> None:
    assert len({seal_to(id_of(ALICE), "p", b"x", os.urandom) for _ in range(3)}) == 3


def test_damaged_and_short_boxes_are_refused() -> None:
    sealed = seal_to(id_of(ALICE), "p", b"text", os.urandom)
    bad = [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(len(sealed))]
    for one in (*bad, b"", sealed[:-1], sealed[:32], bytes(32) + sealed[32:]):
        with pytest.raises(SnapshotError):
            open_box(ALICE, "p", one)


def test_nothing_is_sealed_for_what_is_no_key() -> None:
    weak = (1).to_bytes(32, "little"), bytes(32), (2**255 - 20).to_bytes(32, "little")
    for owner in ("", "laptop", *map(peer_id_of, weak)):
        with pytest.raises(SnapshotError, match="not a valid key"):
            seal_to(owner, "p", b"text", os.urandom)


def test_both_forms_of_a_key_belong_together() -> None:
    """As libsodium has them: the map of the public key is the public half of the mapped seed."""
    for seed in (ALICE, BOB, *(os.urandom(32) for _ in range(20))):
        private = X25519PrivateKey.from_private_bytes(sha512(seed).digest()[:32])
        mapped = _montgomery(public_key_of(id_of(seed)))
        assert private.public_key().public_bytes_raw() == mapped
