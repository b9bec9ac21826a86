"""The person's key in the files of a home."""

import os

from p2p.identity.keys import create_key_file, load_key_file
from swarmnode.home import Home


class HomeVault:
    """`swarmnode.edges.Vault` of a machine."""

    def __init__(self, home: Home) -> None:
        self._home = home
        has_key = home.member_key.exists()
        self.seed = load_key_file(home.member_key).seed() if has_key else b""

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

    def recovered(self, lab_seed: bytes, network_seed: bytes) -> None:
        """Keep what came, then forget that there was something to bring back."""
        for file, seed in ((self._home.lab_key, lab_seed), (self._home.network_key, network_seed)):
            if seed and not file.exists():
                create_key_file(file, seed)
        self._home.recovering_file.unlink(missing_ok=True)
        folder = os.open(self._home.state, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
