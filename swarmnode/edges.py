"""The outside world as one argument: real bodies are made in real_edges.py, others in tests."""

from collections.abc import Callable
from typing import Protocol

import msgspec
import trio

from p2p.effects import Rng
from p2p.host.admission.book import AdmissionBook
from p2p.host.port import Host, Index
from p2p.identity.papers import Papers
from p2p.identity.proofs import Proofs
from p2p.identity.records import MembershipToken
from p2p.ids import LabId, NetworkId, PeerId, PersonId
from p2p.wire.envelope import Signer
from p2p.workers import Workers
from storage.engine.port import Tables
from storage.volumes.port import ShardStore
from swarmnode.datasets.service import DataDisk
from swarmnode.executor.port import Executor
from swarmnode.mirror.service import MirrorDisk
from swarmnode.resources.port import Machine


class Vault(Protocol):
    """The person's key on this machine: `swarmnode.recovery.home_vault` on a node."""

    @property
    def seed(self) -> bytes:
        """Of the person's key; empty when it is on another machine of theirs."""
        ...

    @property
    def person(self) -> PeerId:
        """The id of the person's key."""
        ...

    def seal(self, text: bytes) -> bytes:
        """For the person alone, also where their key is not. Raises SnapshotError."""
        ...

    def unseal(self, sealed: bytes) -> bytes:
        """What was sealed for the person whose key is here. Raises SnapshotError."""
        ...

    def is_recovering(self) -> bool:
        """Whether what the pool keeps is still to be brought back."""
        ...

    def keys(self) -> tuple[bytes, bytes]:
        """Seeds of the lab's and the network's key, empty where they are not here."""
        ...

    def recovered(self, lab_seed: bytes, network_seed: bytes) -> None:
        """All is back: keep these keys where they are missing."""
        ...

    def names(self) -> tuple[str, str]:
        """What the person, and the lab whose key is here, are called; empty if not known."""
        ...

    def named(self, person: str, lab: str) -> MembershipToken | None:
        """Certificates with these names, where `recover` was not told them; before `recovered`."""
        ...


class Edges(msgspec.Struct, frozen=True):
    """Everything a Node touches that is not itself."""

    network: NetworkId
    host: Host
    index: Index
    state: Tables
    store: Tables
    shards: ShardStore
    executor: Executor
    machine: Machine
    signer: Signer
    rng: Rng
    entropy: Callable[[int], bytes]
    """That many unpredictable bytes: keys, nonces, ids."""
    wall_ms: Callable[[], int]
    """Milliseconds since 1970; only for expiry of signed things and for people."""
    workers: Workers
    book: AdmissionBook
    """Who everybody is who was admitted, and the register of the removed."""
    proofs: Proofs | None = None
    """What our certificates and others' prove, also of machines never met; None without any."""
    papers: Papers | None = None
    """None where machines have no certificates: in simulations."""
    boot_s: Callable[[], float] = trio.current_time
    """A clock in seconds that goes on while the machine sleeps, which the others do not."""
    data: DataDisk | None = None
    """Where datasets are kept; None: nowhere."""
    mirror: MirrorDisk | None = None
    """Where what tasks fetch through mirrors is kept; None: there are none."""
    vault: Vault | None = None
    """The person's key, where it lies on this machine; None in simulations."""


class Identity(msgspec.Struct, frozen=True):
    """Who this machine is in its network, as its certificates say."""

    name: str
    lab: LabId
    lab_name: str
    person: PersonId
    site: str
    roles: tuple[str, ...]
    """What it offers, of what its certificate lets it offer."""
