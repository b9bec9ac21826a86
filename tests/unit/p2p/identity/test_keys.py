"""Keys: their ids, their files, and what is refused."""

import os
from pathlib import Path

import pytest

from p2p.errors import IdentityError, UnwritableFileError
from p2p.identity.base58 import base58_decode, base58_encode
from p2p.identity.key_files import create_key_file, load_key_file
from p2p.identity.keys import (
    KeySigner,
    network_id_of,
    peer_id_of,
    public_key_of,
)
from p2p.identity.private_files import make_private_folder, replace_private_file
from p2p.ids import PeerId
from p2p.limits import VERIFY_KEYS_MAX
from tests.small_disk import small_disk

SEED = bytes(range(32))
PEER = "12D3KooWA4Xop1JaT3MHxwYMkCepYsv4iPVopMXwCz5iHYdBfeSB"  # as libp2p 0.8.1 names this seed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    keys = tmp_path / "keys"
    make_private_folder(keys)
    return keys


def test_a_peer_id_is_the_one_libp2p_gives_the_same_key() -> None:
    assert KeySigner.from_seed(SEED).peer_id == PEER
    assert peer_id_of(public_key_of(PEER)) == PEER


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0a", b"hello", bytes(range(60))])
def test_base58_gives_back_what_it_was_given(data: bytes) -> None:
    assert base58_decode(base58_encode(data)) == data


@pytest.mark.parametrize(
    "text",
    [
        "",
        PEER[:-1],
        PEER + "1",
        PEER.replace("2", "0"),
        "1" + PEER[:-1],
        "Qm" + "a" * 44,
        "é" * 52,
        "z" * 52,
        "1" * 52,
    ],
)
def test_what_is_no_peer_id_is_refused(text: str) -> None:
    with pytest.raises(IdentityError):
        public_key_of(text)


def test_a_network_id_is_sixteen_lower_case_base32_characters() -> None:
    network = network_id_of(PeerId(PEER))
    assert len(network) == 16
    assert set(network) <= set("abcdefghijklmnopqrstuvwxyz234567")


def test_a_signature_verifies_for_its_key_and_data_alone() -> None:
    alice, bob = KeySigner.from_seed(SEED), KeySigner.from_seed(bytes(32))
    signature = alice.sign(b"data")
    assert bob.verifies(alice.peer_id, b"data", signature)
    assert not bob.verifies(bob.peer_id, b"data", signature)
    assert not bob.verifies(alice.peer_id, b"other", signature)
    assert not bob.verifies(alice.peer_id, b"data", signature[:-1])
    assert not bob.verifies(PeerId("nobody"), b"data", signature)


def test_the_memory_for_public_keys_is_bounded() -> None:
    signer = KeySigner.from_seed(SEED)
    for number in range(VERIFY_KEYS_MAX + 10):
        signer.verifies(peer_id_of(number.to_bytes(32)), b"", b"")
    assert len(signer._known) == VERIFY_KEYS_MAX


def test_a_key_file_is_private_and_read_back(folder: Path) -> None:
    path = folder / "machine.key"
    made = create_key_file(path, SEED)
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert load_key_file(path).peer_id == made.peer_id
    assert load_key_file(path).seed() == SEED
    assert [one.name for one in folder.iterdir()] == ["machine.key"]


def test_a_key_file_is_never_overwritten(folder: Path) -> None:
    path = folder / "machine.key"
    create_key_file(path, SEED)
    with pytest.raises(IdentityError, match="exists already"):
        create_key_file(path, bytes(32))
    assert load_key_file(path).seed() == SEED
    assert [one.name for one in folder.iterdir()] == ["machine.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610])
def test_a_key_others_may_use_is_refused_with_the_command_that_mends_it(
    folder: Path, mode: int
) -> None:
    path = folder / "machine.key"
    create_key_file(path, SEED)
    path.chmod(mode)
    with pytest.raises(IdentityError, match=f"chmod 600 {path}"):
        load_key_file(path)


def test_a_folder_others_may_enter_is_refused(folder: Path) -> None:
    path = folder / "machine.key"
    create_key_file(path, SEED)
    folder.chmod(0o711)
    with pytest.raises(IdentityError, match=f"chmod 700 {folder}"):
        load_key_file(path)
    with pytest.raises(IdentityError, match="chmod 700"):
        make_private_folder(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_key_of_somebody_else_is_refused(folder: Path) -> None:
    path = folder / "machine.key"
    create_key_file(path, SEED)
    os.chown(path, 12345, 12345)
    with pytest.raises(IdentityError, match="belongs to user 12345"):
        load_key_file(path)


def test_a_link_is_no_key_and_no_folder(folder: Path, tmp_path: Path) -> None:
    create_key_file(folder / "real.key", SEED)
    (folder / "machine.key").symlink_to(folder / "real.key")
    with pytest.raises(IdentityError, match="cannot read"):
        load_key_file(folder / "machine.key")
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(IdentityError, match="not a folder"):
        load_key_file(tmp_path / "link" / "real.key")


def test_a_full_disk_is_told_with_what_to_do(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=1) as disk:
        folder = disk / "keys"
        make_private_folder(folder)
        with pytest.raises(UnwritableFileError, match="No space left on device: free some space"):
            replace_private_file(folder / "big", bytes(2_000_000))
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_a_damaged_key_is_named(folder: Path, content: bytes) -> None:
    path = folder / "machine.key"
    replace_private_file(path, content)
    with pytest.raises(IdentityError, match=r"machine\.key is damaged or no key"):
        load_key_file(path)


def test_a_fifo_in_place_of_a_key_does_not_hang(folder: Path) -> None:
    os.mkfifo(folder / "machine.key", 0o600)
    with pytest.raises(IdentityError, match="not a plain file"):
        load_key_file(folder / "machine.key")
