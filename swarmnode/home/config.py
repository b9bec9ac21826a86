"""Everything an operator can set, with its default, its reason and its check.

flags > `SWARM_SECTION__KEY` > config.toml > profile > default. Plain numbers only: node.py turns
them into the config class that lives beside each core, so that the command line can read this
without importing any of them. Reading and merging is in swarmnode/home/config_load.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Final

from p2p.host.addresses import as_announced, as_listened
from p2p.limits import RELAY_BYTES_PER_S
from swarmnode import reach
from swarmnode.errors import ConfigError
from swarmnode.home.places import host_and_port
from swarmnode.limits import NET_LIST_CHARS_MAX

PROFILES: Final[Mapping[str, Mapping[str, object]]] = {
    # A machine that is always on: the defaults.
    "server": {},
    # A laptop or a small board: it helps, and nobody notices.
    "lowpower": {
        "compute.cpu_millis": 2000,
        "compute.tasks_max": 1,
        "storage.quota_gib": 5.0,
        "storage.cache_mib": 16,
    },
    # A machine with GPUs: inputs of training are read again and again.
    "gpu": {"storage.cache_mib": 1024, "compute.tasks_max": 32},
    # Demo, compose and benches: a minute shows everything. See swarmnode/settings.py.
    "test": {
        "timers.down_after_s": 2.0,
        "timers.suspicion_s": 3.0,
        "timers.lease_s": 6.0,
        "timers.lease_renew_s": 2.0,
    },
    # A public first contact: it introduces and relays, and offers nothing else.
    "bootstrap": {
        "node.roles": ("bootstrap", "relay"),
        "network.alone": True,
        "compute.enabled": False,
        "storage.enabled": False,
    },
}
ROLES: Final = ("compute", "storage", "relay", "bootstrap", "client")


def _number(default: float, low: float, high: float) -> float:
    return field(default=default, metadata={"low": low, "high": high})


def _count(default: int, low: int, high: int) -> int:
    return field(default=default, metadata={"low": low, "high": high})


def _choice(default: str, *choices: str) -> str:
    return field(default=default, metadata={"choices": choices})


def _places(*default: str, form: Callable[[str], object]) -> tuple[str, ...]:
    """Texts of which `form` raises ValueError for one that is none."""
    return field(default=default, metadata={"form": form})


def fault_of(spec: Field[object], value: object) -> str | None:
    """What is wrong with a value of the right type, or None."""
    low, high = spec.metadata.get("low"), spec.metadata.get("high")
    if (
        isinstance(value, int | float)
        and low is not None
        and high is not None
        and not low <= value <= high
    ):
        return f"must be from {low:g} to {high:g}"
    choices = spec.metadata.get("choices")
    for choice in value if isinstance(value, tuple) else (value,):
        if choices is not None and choice not in choices:
            return f"must be one of {', '.join(choices)}"
    return _fault_of_form(spec, value)


def _fault_of_form(spec: Field[object], value: object) -> str | None:
    form = spec.metadata.get("form")
    if form is None or not value:
        return None
    try:
        for text in value if isinstance(value, tuple) else (value,):
            form(text)
    except ValueError as exc:
        return f"cannot be used: {exc}"
    return None


@dataclass(frozen=True, slots=True)
class _Section:
    def __post_init__(self) -> None:
        """Raises ConfigError for the first value out of its bounds."""
        for spec in fields(self):
            value = getattr(self, spec.name)
            if fault := fault_of(spec, value):
                raise ConfigError(f"{spec.name} = {value!r} {fault}")


@dataclass(frozen=True, slots=True)
class NetworkSection(_Section):
    """Whom to call first; the network itself is in membership.json (`init`, `join`)."""

    bootstrap: tuple[str, ...] = ()
    """Multiaddrs, besides those of the invite and those remembered."""
    alone: bool = False
    """Ready without having met anybody: for the first node."""
    interop: bool = False
    """Let other libp2p software in as a guest, to the index, gossipsub and an echo: open networks
    only; the node itself needs none of it."""
    relay: bool = True
    """Carry sealed connections between members that reach this machine and not each other."""
    relay_rate: int = _count(RELAY_BYTES_PER_S, 0, 10**12)
    """Bytes a second of all that is carried, both ways added; 0 is no bound."""


@dataclass(frozen=True, slots=True)
class NodeSection(_Section):
    """What `init` and `join` write into the machine's certificate, and the profile."""

    name: str = ""
    """Empty: the host name."""
    site: str = ""
    """Failure domain below the lab: a room, a building; empty if the lab has only one."""
    roles: tuple[str, ...] = field(default=("compute", "storage"), metadata={"choices": ROLES})
    profile: str = _choice("server", *PROFILES)
    lab_recovery: str = _choice("", "", "on", "off")
    """Whether the lab's key brings your person back, too; empty: as it stands. Needs your key."""


@dataclass(frozen=True, slots=True)
class ListenSection(_Section):
    """Where others reach us."""

    addresses: tuple[str, ...] = _places(
        "/ip4/0.0.0.0/tcp/4850", "/ip6/::/tcp/4850", form=as_listened
    )
    """Multiaddrs to listen on; port 0 takes any free one."""
    announce: tuple[str, ...] = _places(form=as_announced)
    """Multiaddrs to tell others instead, when a router or container translates ours."""


@dataclass(frozen=True, slots=True)
class StorageSection(_Section):
    """What this machine keeps for others."""

    enabled: bool = True
    quota_gib: float = _number(50.0, 0, 1e6)
    min_free_gib: float = _number(5.0, 0, 1e6)
    """Nothing is accepted that would leave the disk with less."""
    cache_mib: int = _count(64, 0, 1024 * 1024)
    """Memory for hot segments."""


@dataclass(frozen=True, slots=True)
class ComputeSection(_Section):
    """What this machine lets tasks use; 0 means all there is."""

    enabled: bool = True
    cpu_millis: int = _count(0, 0, 4_096_000)
    """Thousandths of a core."""
    memory_mib: int = _count(0, 0, 64 * 1024 * 1024)
    disk_gib: float = _number(20.0, 0, 1e6)
    environments_gib: float = _number(20.0, 0, 1e6)
    """For environments of the pool; those used least recently give way."""
    mirror_gib: float = _number(10.0, 0, 1e6)
    """For packages and models that tasks fetched through the mirrors; 0: there are none."""
    io_mb_per_s: int = _count(0, 0, 1_000_000)
    """Of the disk under the tasks' folders, for each task; megabytes of 1000 * 1000."""
    gpus: bool = True
    tasks_max: int = _count(16, 1, 4096)
    sandbox: str = _choice("bwrap", "bwrap", "container")
    """`container`: the node runs in one without user namespaces, each task as a user of its own."""
    tasks_folder: str = ""
    """Absolute; empty: inside the node's state, which `container`'s users cannot enter."""
    net: tuple[str, ...] = _places(reach.NONE, "pypi", "pytorch", form=reach.owners_word)
    """What of the network tasks of one's own lab may ask for: docs/tasks.md has the words."""
    net_others: tuple[str, ...] = _places(reach.NONE, form=reach.owners_word)
    """The same for tasks of other labs."""
    net_private: tuple[str, ...] = _places(form=reach.private_host)
    """Hosts that tasks may reach though their addresses are private, if `net` allows their names:
    names or addresses, with a port or for all ports."""

    def __post_init__(self) -> None:
        """Raises ConfigError, also for a folder that depends on where the node was started."""
        _Section.__post_init__(self)
        if self.tasks_folder and not self.tasks_folder.startswith("/"):
            raise ConfigError(f"tasks_folder = {self.tasks_folder!r} must be an absolute path")
        for key, words in (("net", self.net), ("net_others", self.net_others)):
            if (size := sum(map(len, words))) > NET_LIST_CHARS_MAX:
                remedy = f"use *.HOST, or {reach.INTERNET}"
                raise ConfigError(
                    f"{key} has {size} characters, limit {NET_LIST_CHARS_MAX}: {remedy}"
                )


@dataclass(frozen=True, slots=True)
class ApiSection(_Section):
    """The local API; it is always on its unix socket."""

    tcp: str = field(default="", metadata={"form": host_and_port})
    """`host:port` to listen on as well, for those who hold a token; empty for none."""
    token_file: str = ""
    """Private file with the bearer tokens for `tcp` and their scopes."""
    shared: str = ""
    """Socket for other users of this machine (`person add`), such as /run/swarm/api.sock."""
    hosts: tuple[str, ...] = ()
    """Host names accepted on the socket besides `swarm` and `localhost`: of a proxy before it."""


@dataclass(frozen=True, slots=True)
class TimersSection(_Section):
    """How long we wait before we act, in seconds."""

    probe_s: float = _number(1.0, 0.05, 60)
    """Between two probes of membership."""
    suspicion_s: float = _number(6.5, 0.5, 600)
    """From suspect to dead: longer than a healthy machine pauses (6 s), so that it can object."""
    down_after_s: float = _number(900.0, 0.5, 7 * 86400)
    """Until a silent holder's shards count as lost: machines that reboot come back sooner."""
    lease_s: float = _number(15.0, 1, 3600)
    """A task's lease, without which its worker stops."""
    lease_renew_s: float = _number(5.0, 0.2, 1200)
    """Two renewals may be lost before a lease ends."""
    orphan_grace_s: float = _number(60.0, 1, 86400)
    """How long a worker goes on without its buyer."""
    advert_every_s: float = _number(10.0, 0.5, 600)
    advert_ttl_s: float = _number(35.0, 1, 3600)
    """Two adverts may be lost before a machine is forgotten."""
    pause_grace_s: float = _number(3.0, 0, 600)
    """Notice tasks get when the owner wants the machine back."""

    def __post_init__(self) -> None:
        """Raises ConfigError, also for timers that contradict one another."""
        _Section.__post_init__(self)
        if self.lease_renew_s * 2 > self.lease_s:
            raise ConfigError("lease_renew_s must be at most half of lease_s")
        if self.advert_every_s * 2 > self.advert_ttl_s:
            raise ConfigError("advert_every_s must be at most half of advert_ttl_s")


@dataclass(frozen=True, slots=True)
class LogSection(_Section):
    """What the node writes about itself, on stderr."""

    level: str = _choice("info", "debug", "info", "warning", "error")
    form: str = _choice("text", "text", "json")


@dataclass(frozen=True, slots=True)
class EnvSection(_Section):
    """A folder tasks may ask for by name with `--env NAME`; bound read-only into the sandbox."""

    path: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration."""

    network: NetworkSection = field(default_factory=NetworkSection)
    node: NodeSection = field(default_factory=NodeSection)
    listen: ListenSection = field(default_factory=ListenSection)
    storage: StorageSection = field(default_factory=StorageSection)
    compute: ComputeSection = field(default_factory=ComputeSection)
    api: ApiSection = field(default_factory=ApiSection)
    timers: TimersSection = field(default_factory=TimersSection)
    log: LogSection = field(default_factory=LogSection)
    env: Mapping[str, EnvSection] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    """`section.key` to where the value came from; what is missing is a default."""


SECTIONS: Final[Mapping[str, type[_Section]]] = {
    "network": NetworkSection,
    "node": NodeSection,
    "listen": ListenSection,
    "storage": StorageSection,
    "compute": ComputeSection,
    "api": ApiSection,
    "timers": TimersSection,
    "log": LogSection,
}
