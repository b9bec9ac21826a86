import pytest

from storage.coding.cipher import Cipher, preferred_cipher, seal, unseal, unseal_part
from storage.errors import CapabilityError, ManifestError
from storage.ids import ObjectKey

KEY = ObjectKey(bytes(range(32)))
PLAIN = bytes(range(256)) * 40


@pytest.mark.parametrize("cipher", list(Cipher))
def test_what_is_sealed_opens_with_the_same_key_and_number_only(cipher: Cipher) -> None:
    sealed = seal(cipher, KEY, 3, PLAIN)
    assert unseal(cipher, KEY, 3, sealed) == PLAIN
    for key, number in ((ObjectKey(bytes(32)), 3), (KEY, 4)):
        with pytest.raises(CapabilityError):
            unseal(cipher, key, number, sealed)


@pytest.mark.parametrize("cipher", list(Cipher))
def test_a_changed_bit_is_noticed(cipher: Cipher) -> None:
    sealed = bytearray(seal(cipher, KEY, 0, PLAIN))
    sealed[100] ^= 1
    with pytest.raises(CapabilityError):
        unseal(cipher, KEY, 0, bytes(sealed))


@pytest.mark.parametrize("cipher", list(Cipher))
@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 10_240), (15, 17), (64, 65), (63, 9_999)])
def test_any_part_opens_alone(cipher: Cipher, start: int, stop: int) -> None:
    sealed = seal(cipher, KEY, 7, PLAIN)
    assert unseal_part(cipher, KEY, 7, start, sealed[start:stop]) == PLAIN[start:stop]


def test_equal_segments_do_not_look_equal() -> None:
    assert seal(Cipher.AES_256_GCM, KEY, 0, PLAIN) != seal(Cipher.AES_256_GCM, KEY, 1, PLAIN)


def test_an_empty_segment_is_its_tag_alone() -> None:
    sealed = seal(Cipher.CHACHA20_POLY1305, KEY, 0, b"")
    assert len(sealed) == 16
    assert unseal(Cipher.CHACHA20_POLY1305, KEY, 0, sealed) == b""


def test_an_unknown_cipher_asks_for_an_upgrade() -> None:
    with pytest.raises(ManifestError, match="upgrade"):
        seal(9, KEY, 0, b"")
    with pytest.raises(ManifestError, match="upgrade"):
        unseal_part(9, KEY, 0, 0, b"x")


def test_this_machine_has_a_preference() -> None:
    assert preferred_cipher() in set(Cipher)
