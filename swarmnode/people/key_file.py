"""A person's key in their own home: one seed, of which each use has a secret of its own."""

import os

from blake3 import blake3

from p2p.errors import DamagedKeyError, IdentityError
from p2p.identity.key_files import create_key_file, load_key_file
from p2p.identity.keys import SEED_BYTES, KeySigner
from swarmnode.home.folders import Home

BEGIN_ANEW = "swarmnode unlock --new-key"


def load_person_key(home: Home) -> KeySigner:
    """The key of this home. Raises IdentityError that says how to go on without it."""
    path = home.person_key
    if not os.path.lexists(path):
        raise IdentityError(
            f"your key {path} is not here: bring the file back from a backup, or begin anew "
            f"with `{BEGIN_ANEW}`"
        )
    try:
        return load_key_file(path)
    except DamagedKeyError as error:
        raise DamagedKeyError(
            f"{error}, or begin anew: move it away, then `{BEGIN_ANEW}`"
        ) from error


def make_person_key(home: Home) -> KeySigner:
    """The key of this home, made when there is none. Raises IdentityError."""
    home.make_keys()
    if not home.person_key.exists():
        try:
            return create_key_file(home.person_key, os.urandom(SEED_BYTES))
        except IdentityError:
            if not home.person_key.exists():  # else another command of ours was faster
                raise
    return load_person_key(home)


def sealing_secret_of(key: KeySigner, salt: bytes) -> bytes:
    """The 32 bytes that open what is sealed at the node of that salt.

    The key itself never leaves the home, and one node's secret opens nothing at another.
    """
    return blake3(key.seed() + salt, derive_key_context="swarm person sealing 1").digest()
