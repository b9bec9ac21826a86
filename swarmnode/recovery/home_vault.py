"""The person's key in the files of a home."""

import os
import time
from pathlib import Path
from typing import Final

from p2p.identity.key_files import create_key_file, load_key_file
from p2p.identity.keys import KeySigner
from p2p.identity.records import MembershipToken
from p2p.ids import PeerId
from swarmnode.home.folders import Home
from swarmnode.recovery.box import open_box, seal_to
from swarmnode.recovery.naming import named, names_here

PURPOSE: Final = "keyring"


class HomeVault:
    """`swarmnode.edges.Vault` of a machine."""

    def __init__(self, home: Home, person: str, lab: str, root: str) -> None:
        """Ids of the keys of the machine's owner, of their lab and of the network."""
        self._home, self._lab, self._root = home, lab, root
        has_key = home.member_key.exists()
        self.seed = load_key_file(home.member_key).seed() if has_key else b""
        """Of the person's key; empty where that is not here."""
        self.person = PeerId(person)

    def seal(self, text: bytes) -> bytes:
        """For the person alone. Raises SnapshotError."""
        return seal_to(self.person, PURPOSE, text, os.urandom)

    def unseal(self, sealed: bytes) -> bytes:
        """What was sealed for the person whose key is here. Raises SnapshotError."""
        return open_box(self.seed, PURPOSE, sealed)

    def is_recovering(self) -> bool:
        """Whether `swarmnode recover` was run and its things are not back."""
        return self._home.recovering_file.exists()

    def keys(self) -> tuple[bytes, bytes]:
        """Seeds of the lab's and the network's key, empty where they are not here."""
        lab, network = (
            load_key_file(file).seed() if file.exists() else b""
            for file in (self._home.lab_key, self._home.network_key)
        )
        return lab, network

    def names(self) -> tuple[str, str]:
        """See swarmnode.edges.Vault."""
        return names_here(self._home, _wall_ms())

    def named(self, person: str, lab: str) -> MembershipToken | None:
        """See swarmnode.edges.Vault."""
        return named(self._home, person, lab, _wall_ms())

    def recovered(self, lab_seed: bytes, network_seed: bytes) -> None:
        """Keep what came, then forget that there was something to bring back."""
        _keep(self._home.lab_key, lab_seed, self._lab)
        _keep(self._home.network_key, network_seed, self._root)
        self._home.recovering_file.unlink(missing_ok=True)
        folder = os.open(self._home.state, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _keep(file: Path, seed: bytes, owner: str) -> None:
    """Only the key that it should be: a copy may be of a machine that is not trusted as much."""
    if seed and not file.exists() and KeySigner.from_seed(seed).peer_id == owner:
        create_key_file(file, seed)
