"""The key in a person's own home."""

import stat
from pathlib import Path

import pytest

from p2p.errors import IdentityError
from swarmnode.home.folders import locate
from swarmnode.people.key_file import load_person_key, make_person_key, sealing_secret_of

SALT = bytes(16)


def test_it_is_made_once_and_only_its_person_may_read_it(tmp_path: Path) -> None:
    home = locate({"HOME": str(tmp_path)})
    key = make_person_key(home)
    assert home.person_key == tmp_path / ".local/state/swarm/keys/person.key"
    assert stat.S_IMODE(home.person_key.stat().st_mode) == 0o600
    for again in (make_person_key(home), load_person_key(home)):
        assert again.seed() == key.seed()


def test_no_node_learns_what_opens_another_s_nor_the_key_itself(tmp_path: Path) -> None:
    key = make_person_key(locate({"HOME": str(tmp_path)}))
    secret = sealing_secret_of(key, SALT)
    assert secret == sealing_secret_of(key, SALT)
    assert secret not in (key.seed(), sealing_secret_of(key, bytes([1] * 16)))


def test_one_that_is_lost_damaged_or_open_to_others_is_named(tmp_path: Path) -> None:
    home = locate({"HOME": str(tmp_path)})
    home.make_keys()
    with pytest.raises(IdentityError, match=r"person\.key is not here.*backup.*--new-key"):
        load_person_key(home)
    make_person_key(home)
    home.person_key.chmod(0o644)
    with pytest.raises(IdentityError, match="chmod 600"):
        make_person_key(home)
    home.person_key.chmod(0o600)
    home.person_key.write_bytes(b"")
    with pytest.raises(IdentityError, match=r"restore it from a backup, .*move it away.*--new-key"):
        make_person_key(home)
