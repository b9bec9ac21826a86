"""What `doctor` looks at in the node's own surroundings: clock, files, disk, versions, ports."""

import ctypes
import resource
import shutil
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from p2p.errors import AdmissionError, IdentityError
from p2p.host.addresses import lacks_family
from p2p.identity.issue import DAY_MS
from swarmnode.boot.descriptors import LIMIT_MAX, LIMIT_MIN
from swarmnode.home import enrol, membership_end
from swarmnode.home.config import Config
from swarmnode.home.folders import Home

OK: Final = "ok"
WARN: Final = "warn"
FAIL: Final = "fail"

LIBP2P: Final = "0.8.1"
_NEEDED: Final = ("trio", "msgspec", "cryptography", "blake3", "lmdb", "zfec", "click")
_RELEASED_MS: Final = 1_767_225_600_000  # 2026-01-01: no right clock is before this program
_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised
_GIB: Final = 1024**3
_SET_CLOCK: Final = "sudo timedatectl set-ntp true (or: sudo apt-get install systemd-timesyncd)"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding and, unless all is well, how to mend it."""

    check: str
    status: str
    detail: str
    fix: str = ""


def clock(now_ms: int) -> Check:
    """Is the wall clock plausible, steady and synchronised? Asks nobody on the network."""
    fix = _SET_CLOCK
    if now_ms < _RELEASED_MS:
        when = time.strftime("%Y-%m-%d", time.gmtime(now_ms / 1000))
        return Check("clock", FAIL, f"the clock says {when}: peers will refuse us", fix)
    if (apart_ms := _drift_ms()) > 20:
        return Check("clock", WARN, f"the clock jumped by {apart_ms:.0f} ms just now", fix)
    if _kernel_clock_state() == _TIME_ERROR:
        return Check("clock", WARN, "no time service keeps the clock (120 s off is too much)", fix)
    return Check("clock", OK, "plausible and steady")


def _drift_ms() -> float:
    """How far wall and monotonic clock move apart in 50 ms."""
    wall, steady = time.time(), time.monotonic()
    threading.Event().wait(0.05)
    return abs((time.time() - wall) - (time.monotonic() - steady)) * 1000


def _kernel_clock_state() -> int:
    """What adjtimex(2) says when asked and told nothing; -1 where it may not be asked."""
    try:
        return int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(1024)))
    except (OSError, AttributeError):
        return -1


def descriptors() -> Check:
    """May this process open enough files?"""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # a node raises its soft limit to this
    soft = LIMIT_MAX if hard == resource.RLIM_INFINITY else hard
    fix = "ulimit -n 65536 (systemd unit: LimitNOFILE=65536)"
    if soft < LIMIT_MIN:
        return Check("files", FAIL, f"only {soft} files may be open", fix)
    if soft < 4096:
        return Check("files", WARN, f"{soft} files may be open: few for many peers", fix)
    return Check("files", OK, f"{soft} files may be open")


def disk(home: Home, config: Config) -> Check:
    """Is there room for the node itself, and for what it offers to others?"""
    folder = next(path for path in (home.state, *home.state.parents) if path.is_dir())
    free_gib = shutil.disk_usage(folder).free / _GIB
    storage = config.storage
    if free_gib < 0.25:
        fix = f"free some space, or set SWARM_HOME to another disk than that of {folder}"
        return Check("disk", FAIL, f"{free_gib:.2f} GiB free", fix)
    offered = min(storage.quota_gib, free_gib - storage.min_free_gib)
    if storage.enabled and storage.quota_gib > 0 and offered < storage.quota_gib:
        fix = f"SWARM_STORAGE__QUOTA_GIB={max(0, int(offered))}, or free some space"
        detail = f"{free_gib:.0f} GiB free, quota {storage.quota_gib:g} and reserve do not fit"
        return Check("disk", WARN, detail, fix)
    return Check("disk", OK, f"{free_gib:.0f} GiB free")


def identity(home: Home, now_ms: int) -> Check:
    """Are the keys there, ours alone and certified?"""
    if not home.machine_key.exists():
        return Check("identity", WARN, "no keys yet", "swarmnode init, or: swarmnode join <invite>")
    try:
        keys = enrol.load_keys(home)
        if not home.membership_file.exists():
            fix = "swarmnode join <invite>, or: swarmnode init --new-network"
            return Check("identity", WARN, "keys are private, no network yet", fix)
        membership = enrol.load_membership(home)
        me = enrol.whoami(membership, keys.machine, now_ms)
    except IdentityError as exc:
        return Check("identity", FAIL, str(exc), _remedy(str(exc)))
    except AdmissionError as exc:
        fix = _SET_CLOCK if exc.code == "clock" else "swarmnode join <new invite>"
        return Check("identity", FAIL, f"this machine's membership is over: {exc.detail}", fix)
    if told := membership_end.warning(membership.token, me, now_ms):
        return Check("identity", WARN, told, membership_end.REMEDY)
    left_days = (me.expires_ms - now_ms) // DAY_MS
    detail = (
        f"{me.name} of {me.person_name}, {me.lab_name}: keys are private, {left_days} days left"
    )
    return Check("identity", OK, detail)


def _remedy(text: str) -> str:
    """The part of an identity error that says what to do: it stands last."""
    return text.rpartition(": ")[2]


def versions() -> Check:
    """Is everything installed that the node imports, in the version it was tested with?"""
    python = ".".join(str(part) for part in sys.version_info[:3])
    missing = [name for name in _NEEDED if _installed(name) is None]
    libp2p = _installed("libp2p")
    if libp2p is None:
        missing.append("libp2p")
    if missing:
        fix = "make setup (or: pip install -r requirements.lock)"
        return Check("versions", FAIL, f"not installed: {', '.join(missing)}", fix)
    if libp2p != LIBP2P:
        fix = f"make setup: the link is tested with libp2p {LIBP2P} alone"
        return Check("versions", FAIL, f"libp2p {libp2p}", fix)
    return Check("versions", OK, f"Python {python}, libp2p {libp2p}")


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def imports() -> Check:
    """Do `p2p` and `storage` come from beside `swarmnode`? Others use those names too."""
    ours = Path(__file__).resolve().parents[3]
    for name in ("p2p", "storage"):
        spec = find_spec(name)
        origin = None if spec is None or spec.origin is None else Path(spec.origin).resolve()
        if origin is None or origin.parents[1] != ours:
            fix = (
                f"use a virtual environment of its own: pip uninstall the package that owns {name}"
            )
            return Check("imports", FAIL, f"{name} comes from {origin}, not from {ours}", fix)
    return Check("imports", OK, f"p2p and storage come from {ours}")


def _try_to_bind(family: int, host: str, port: int) -> None:
    """As a node would do it. Raises OSError."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind((host, port))


def ports(home: Home, config: Config) -> Check:
    """Can we listen where the configuration says?"""
    if node_answers(home):
        return Check("ports", OK, "in use by the node that runs here")
    wanted = [place for address in config.listen.addresses if (place := _host_port(address))]
    for family, host, port in wanted:
        try:
            _try_to_bind(family, host, port)
        except OSError as exc:
            if lacks_family(host, exc):
                continue  # a machine without that kind of address listens on the other
            fix = "set another port in [listen] addresses, or stop what uses it: ss -ltnp"
            return Check("ports", FAIL, f"{host} port {port}: {exc.strerror}", fix)
    ports_wanted = dict.fromkeys(port for _, _, port in wanted)
    return Check("ports", OK, ", ".join(f"{port or 'any'} is free" for port in ports_wanted))


def node_answers(home: Home) -> bool:
    """True if a node accepts connections on this home's socket."""
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            probe.connect(str(home.api_socket))
    except OSError:
        return False
    return True


def _host_port(address: str) -> tuple[socket.AddressFamily, str, int] | None:
    """`/ip4/0.0.0.0/tcp/4850` for bind; None for what is no plain TCP address."""
    families: Mapping[str, socket.AddressFamily] = {"ip4": socket.AF_INET, "ip6": socket.AF_INET6}
    parts = address.split("/")
    if len(parts) < 5 or parts[1] not in families or parts[3] != "tcp" or not parts[4].isdigit():
        return None
    return families[parts[1]], parts[2], int(parts[4])
