"""Where a node keeps things: XDG folders, or everything under SWARM_HOME.

    config    config.toml
    state     keys/ membership.json revoked.txt node.lock  state.lmdb/ store.lmdb/ segments/ tasks/
    cache     what can be fetched again
    runtime   api.sock calls.sock addresses.json    never in /tmp

Source: https://specifications.freedesktop.org/basedir-spec/latest/
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from p2p.errors import IdentityError
from p2p.identity.private_files import (
    make_private_folder,
    read_private_file,
    remove_drafts,
    replace_private_file,
)

SOCKET_PATH_BYTES_MAX: Final = 107
"""Linux: sun_path of a unix socket has 108 bytes, one of them the final zero (unix(7))."""


class Home(msgspec.Struct, frozen=True):
    """The folders of one node and the files in them."""

    config: Path
    state: Path
    cache: Path
    runtime: Path

    @property
    def config_file(self) -> Path:
        return self.config / "config.toml"

    @property
    def keys(self) -> Path:
        """Folder of the private keys."""
        return self.state / "keys"

    @property
    def machine_key(self) -> Path:
        return self.keys / "machine.key"

    @property
    def member_key(self) -> Path:
        return self.keys / "member.key"

    @property
    def person_key(self) -> Path:
        """Of somebody who uses another's node: opens what rests there of them (people/seals.py)."""
        return self.keys / "person.key"

    @property
    def lab_key(self) -> Path:
        return self.keys / "lab.key"

    @property
    def network_key(self) -> Path:
        return self.keys / "network.key"

    @property
    def membership_file(self) -> Path:
        """The network, our token and where to call first (swarmnode/home/enrol.py)."""
        return self.state / "membership.json"

    @property
    def recovering_file(self) -> Path:
        """Here while what the pool keeps of a person is still to be brought back."""
        return self.state / "recovering"

    @property
    def revoked_file(self) -> Path:
        """Ids that are no longer trusted, one a line; `#` begins a comment."""
        return self.state / "revoked.txt"

    @property
    def state_tables(self) -> Path:
        """LMDB of tasks, market, memory and peers."""
        return self.state / "state.lmdb"

    @property
    def store_tables(self) -> Path:
        """LMDB of storage."""
        return self.state / "store.lmdb"

    @property
    def segments(self) -> Path:
        """Folder of the shard bytes."""
        return self.state / "segments"

    @property
    def tasks(self) -> Path:
        """Folder of the running tasks: crash records, work folders, logs."""
        return self.state / "tasks"

    @property
    def api_socket(self) -> Path:
        return self.runtime / "api.sock"

    @property
    def calls_socket(self) -> Path:
        return self.runtime / "calls.sock"

    @property
    def addresses_file(self) -> Path:
        """Where the running node can be reached; written by it, read by `swarmnode invite`."""
        return self.runtime / "addresses.json"

    def make(self) -> None:
        """Create what is missing, 0700; remove what a process that was cut off left half written.

        Raises IdentityError when others could look in.
        """
        for folder in (self.config, self.state, self.cache, self.runtime, self.keys):
            make_private_folder(folder)
        for folder in dict.fromkeys((self.config, self.state, self.runtime, self.keys)):
            remove_drafts(folder)

    def make_keys(self) -> None:
        """The folder of keys alone, for who has no node. Raises IdentityError."""
        for folder in (self.state, self.keys):
            make_private_folder(folder)

    def check_socket_paths(self) -> None:
        """Raises IdentityError when the folder's name is too long for a unix socket."""
        size = len(os.fsencode(self.calls_socket))
        if size > SOCKET_PATH_BYTES_MAX:
            raise IdentityError(
                f"{self.calls_socket} has {size} bytes, a socket may have {SOCKET_PATH_BYTES_MAX}: "
                "set SWARM_HOME (or XDG_RUNTIME_DIR) to a shorter path"
            )


def locate(environ: Mapping[str, str]) -> Home:
    """The folders this environment asks for; nothing is created.

    Raises IdentityError for a relative SWARM_HOME or when there is no home folder at all.
    """
    if root := environ.get("SWARM_HOME"):
        return _below(root)
    state = _xdg(environ, "XDG_STATE_HOME", ".local/state")
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    return Home(
        config=_xdg(environ, "XDG_CONFIG_HOME", ".config"),
        state=state,
        cache=_xdg(environ, "XDG_CACHE_HOME", ".cache"),
        runtime=Path(runtime) / "swarm" if runtime.startswith("/") else state / "run",
    )


def _below(root: str) -> Home:
    base = Path(root)
    if not base.is_absolute():
        raise IdentityError(f"SWARM_HOME={root} must be an absolute path")
    return Home(base, base, base / "cache", base / "run")


def write_addresses(home: Home, addresses: Sequence[str]) -> None:
    """Note where the running node can be reached. Raises IdentityError."""
    replace_private_file(home.addresses_file, json.dumps(list(addresses)).encode())


def read_addresses(home: Home) -> tuple[str, ...]:
    """Where the node of this home was last reachable; empty if it never ran since boot.

    Raises IdentityError when the file is damaged or open to others.
    """
    if not home.addresses_file.exists():
        return ()
    try:
        addresses = json.loads(read_private_file(home.addresses_file))
    except ValueError as exc:
        raise IdentityError(f"{home.addresses_file} is damaged: remove it") from exc
    if not isinstance(addresses, list) or not all(
        isinstance(address, str) for address in addresses
    ):
        raise IdentityError(f"{home.addresses_file} is damaged: remove it")
    return tuple(addresses)


def read_revoked(home: Home) -> frozenset[str]:
    """Ids that are no longer trusted. Raises IdentityError."""
    if not home.revoked_file.exists():
        return frozenset()
    try:
        lines = read_private_file(home.revoked_file).decode().splitlines()
    except UnicodeDecodeError as exc:
        raise IdentityError(
            f"{home.revoked_file} is damaged, no text: restore it from a backup, or write it anew"
        ) from exc
    return frozenset(entry for line in lines if (entry := line.partition("#")[0].strip()))


def _xdg(environ: Mapping[str, str], name: str, below_home: str) -> Path:
    given = environ.get(name, "")
    if given.startswith("/"):  # the specification says to ignore relative ones
        return Path(given) / "swarm"
    user_home = environ.get("HOME", "")
    if not user_home.startswith("/"):
        raise IdentityError("HOME is not set: set SWARM_HOME to the folder to use")
    return Path(user_home) / below_home / "swarm"
