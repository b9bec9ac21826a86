"""The real edges of a node: this machine's keys, sockets, stores, sandbox and clock."""

import os
import random
import shutil
import ssl
import time
from pathlib import Path

import msgspec

from p2p.errors import AdmissionError, IdentityError
from p2p.host.admission.exchange import OpenNetworkAdmission, TokenAdmission
from p2p.host.admission.proofs import TokenProofs
from p2p.host.libp2p.host import HostConfig, Libp2pHost
from p2p.host.libp2p.index import Libp2pIndex
from p2p.host.peers.config import RelayConfig
from p2p.identity.admission import Admitted
from p2p.identity.keys import KeySigner
from p2p.link.guard import GuardConfig
from p2p.workers import ThreadWorkers, Workers
from storage.engine.lmdb_tables import LmdbTables
from storage.engine.port import Tables
from storage.volumes.store import VolumeStore
from swarmnode.boot.descriptors import DescriptorShares
from swarmnode.datasets.service import DataDisk
from swarmnode.edges import Edges, Identity
from swarmnode.errors import ConfigError
from swarmnode.executor.process import ProcessExecutor
from swarmnode.executor.sandbox.capability import ExecutorConfig
from swarmnode.executor.shim.lease import boot_s
from swarmnode.home import enrol
from swarmnode.home.config import Config
from swarmnode.home.enrol import Enrolment, load_machine, load_membership
from swarmnode.home.folders import Home
from swarmnode.home.papers import HomePapers
from swarmnode.home.revoked import RevokedFile
from swarmnode.mirror.service import MirrorDisk
from swarmnode.recovery.home_vault import HomeVault
from swarmnode.resources.local import LocalMachine
from swarmnode.sdk import ctx
from swarmnode.settings import GIB


class Real(msgspec.Struct, frozen=True):
    """What a Node is built from on a machine."""

    edges: Edges
    identity: Identity
    seeds: tuple[str, ...]


def wall_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def build_edges(config: Config, home: Home, shares: DescriptorShares) -> Real:
    """Open what this home holds. Raises IdentityError, ListenError, ConfigError, StorageError."""
    machine = load_machine(home)
    membership = load_membership(home)
    network = membership.anchor.network
    admission = _admission(config, home, machine, membership)
    listen, settings = config.listen, _host_config(config, shares)
    host = Libp2pHost(
        machine.seed(), network, listen.addresses, admission, settings, listen.announce
    )
    if config.network.interop:
        _serve_guests(host, membership)
    workers = ThreadWorkers()
    store = LmdbTables(home.store_tables)
    tasks = Path(config.compute.tasks_folder) if config.compute.tasks_folder else home.tasks
    local = LocalMachine(tasks, gpus=config.compute.gpus)
    executor = _executor(config, tasks, workers, local, shares)
    edges = Edges(
        network=network,
        host=host,
        index=Libp2pIndex(host),
        state=LmdbTables(home.state_tables),
        store=store,
        shards=_shards(config, home, workers, store),
        executor=executor,
        machine=local,
        signer=machine,
        rng=random.SystemRandom(),
        entropy=os.urandom,
        wall_ms=wall_ms,
        workers=workers,
        book=admission.book,
        proofs=TokenProofs(admission),
        papers=HomePapers(home, admission),
        boot_s=boot_s,
        mirror=_mirror(config, tasks),
        data=DataDisk(tasks / "data", executor.room_for_data, executor.share_disk),
        vault=HomeVault(home, admission.me.person, admission.me.lab, membership.anchor.root),
    )
    return Real(edges, _identity(admission.me, config), membership.addresses)


def _identity(me: Admitted, config: Config) -> Identity:
    roles = tuple(role for role in config.node.roles if not me.roles or role in me.roles)
    return Identity(me.name, me.lab, me.lab_name, me.person, me.site, roles)


def _host_config(config: Config, shares: DescriptorShares) -> HostConfig:
    usual = GuardConfig()
    guard = GuardConfig(
        pending_max=shares.pending,
        per_prefix_max=min(usual.per_prefix_max, shares.pending),
        per_address_max=min(usual.per_address_max, shares.pending),
    )
    relay = RelayConfig(carries=config.network.relay, bytes_per_s=float(config.network.relay_rate))
    return HostConfig(guard=guard, peers_max=shares.peers, relay=relay)


def _serve_guests(host: Libp2pHost, membership: Enrolment) -> None:
    if not membership.anchor.is_open:
        raise ConfigError(
            "network.interop is for open networks: a private one serves its members only. "
            "Set network.interop = false"
        )
    from p2p.host.libp2p.interop import Interop  # with it comes gossipsub

    Interop(host, membership.anchor.network)


def _shards(config: Config, home: Home, workers: Workers, store: Tables) -> VolumeStore:
    return VolumeStore(
        home.segments,
        store,
        workers,
        quota_bytes=int(config.storage.quota_gib * GIB),
        min_free_bytes=int(config.storage.min_free_gib * GIB),
    )


def _mirror(config: Config, tasks: Path) -> MirrorDisk | None:
    folder, bytes_max = tasks / "mirror", int(config.compute.mirror_gib * GIB)
    if not bytes_max:
        shutil.rmtree(folder, ignore_errors=True)  # what was kept when there was one
        return None
    return MirrorDisk(folder, bytes_max, ssl.create_default_context)


def _executor(
    config: Config,
    tasks: Path,
    workers: Workers,
    machine: LocalMachine,
    shares: DescriptorShares,
) -> ProcessExecutor:
    compute = config.compute
    executor = ProcessExecutor(
        tasks,
        ExecutorConfig(
            sandbox=compute.sandbox,
            ctx_module=Path(ctx.__file__),
            given_bytes_max=int(compute.disk_gib * GIB),
            net_private=compute.net_private,
            net_connections=shares.tasks,
            has_mirror=config.compute.mirror_gib > 0,
            environments_bytes_max=int(compute.environments_gib * GIB),
            io_bytes_per_s=compute.io_mb_per_s * 1_000_000,
        ),
        {name: Path(env.path) for name, env in config.env.items()},
        workers,
        gpu_device=machine.gpu_device,
    )
    machine.know_ours(executor.owns)
    return executor


def _admission(
    config: Config, home: Home, machine: KeySigner, membership: Enrolment
) -> TokenAdmission:
    """Raises IdentityError, also when there is a revoked.txt that cannot be read."""
    revoked = RevokedFile(home)
    revoked()
    if revoked.trouble:
        raise IdentityError(revoked.trouble)
    membership = enrol.renewed_here(home, membership, wall_ms(), os.urandom)
    try:
        admission = _admission_by(config, machine, membership)
    except AdmissionError as exc:
        raise enrol.not_a_member(membership, exc) from exc
    admission.book.revoked, admission.book.trouble = revoked, lambda: revoked.trouble
    return admission


def _admission_by(config: Config, machine: KeySigner, membership: Enrolment) -> TokenAdmission:
    """Raises AdmissionError."""
    anchor, node = membership.anchor, config.node
    if not anchor.is_open:
        return TokenAdmission(machine, membership.token, anchor, wall_ms)
    name = node.name or os.uname().nodename
    return OpenNetworkAdmission(
        machine, anchor, wall_ms, name=name, site=node.site, roles=node.roles
    )
