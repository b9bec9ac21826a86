"""The outside world as one argument: real bodies come from daemon.py, in-memory ones from tests."""

from collections.abc import Callable
from dataclasses import dataclass

from p2p.effects import Rng
from p2p.host.port import Host, Index
from p2p.ids import LabId, MemberId, NetworkId
from p2p.wire.envelope import Signer
from p2p.workers import Workers
from storage.engine.port import Tables
from storage.shards.port import ShardStore
from swarmnode.executor.port import Executor
from swarmnode.resources.port import Machine


@dataclass(frozen=True, slots=True)
class Edges:
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


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this machine is in its network, as its certificates say."""

    name: str
    lab: LabId
    lab_name: str
    member: MemberId
    site: str
    roles: tuple[str, ...]
