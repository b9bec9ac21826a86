"""Sealed messages survive any cutting of the byte stream, and nothing else opens."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from p2p.errors import WireError
from p2p.link.noise import PLAIN_BYTES_MAX, NoiseSession

ONE, OTHER = bytes(32), bytes([1]) * 32


def pair() -> tuple[NoiseSession, NoiseSession]:
    alice = NoiseSession(send_key=ONE, receive_key=OTHER)
    return alice, NoiseSession(send_key=OTHER, receive_key=ONE)


@pytest.mark.parametrize("piece", [1, 7, 1000, 10**6])
def test_messages_arrive_whole_however_the_stream_is_cut(piece: int) -> None:
    alice, bob = pair()
    sealed = alice.seal(b"one") + alice.seal(b"two" * 50_000)
    opened = [
        plain for at in range(0, len(sealed), piece) for plain in bob.open(sealed[at : at + piece])
    ]
    assert b"".join(opened) == b"one" + b"two" * 50_000
    assert max(len(plain) for plain in opened) <= PLAIN_BYTES_MAX


def test_the_format_is_that_of_the_noise_specification() -> None:
    alice, _ = pair()
    alice.seal(b"first")
    sealed = alice.seal(b"second")
    nonce = bytes(4) + (1).to_bytes(8, "little")
    assert sealed[:2] == len(sealed[2:]).to_bytes(2)
    assert ChaCha20Poly1305(ONE).decrypt(nonce, sealed[2:], None) == b"second"


def test_a_flipped_bit_is_refused() -> None:
    alice, bob = pair()
    sealed = bytearray(alice.seal(b"pay 5"))
    sealed[5] ^= 1
    with pytest.raises(WireError):
        bob.open(bytes(sealed))


def test_a_replayed_or_dropped_message_is_refused() -> None:
    alice, bob = pair()
    first, second = alice.seal(b"1"), alice.seal(b"2")
    assert bob.open(first) == [b"1"]
    with pytest.raises(WireError):
        bob.open(first)
    _, carol = pair()
    with pytest.raises(WireError):
        carol.open(second)


def test_a_message_too_short_to_hold_a_tag_is_refused() -> None:
    _, bob = pair()
    with pytest.raises(WireError):
        bob.open(b"\x00\x03abc")


def test_an_empty_message_says_nothing_and_is_accepted() -> None:
    _, bob = pair()
    empty = ChaCha20Poly1305(ONE).encrypt(bytes(12), b"", None)
    assert bob.open(len(empty).to_bytes(2) + empty) == [b""]
