"""The bubblewrap command line: what a task sees of this machine, which is almost nothing.

No network (or the one of shim/net), no other process, no home, no node folder; /usr read-only;
user 65534 without capabilities or new privileges; private /tmp and /dev/shm of limited size; the
work folder at /work. Options are handed over in a file: neither paths nor values show in `ps`.

A node that is root gives each job a user of its own, who has no rights on this machine, and
bubblewrap runs as that user. What only root may reach is handed to it under /tmp: see stage.py.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from swarmnode.executor.kernel.system_overlay import BELOW, marked
from swarmnode.executor.port import JobSpec
from swarmnode.executor.sandbox.etc import ETC_NET
from swarmnode.executor.shim.order import FD_ARGS, FD_BLOCK, FD_SECCOMP, FD_STATUS
from swarmnode.executor.shim.secret_files import FD_OPTIONS
from swarmnode.executor.shim.stage import FILE, FOLDER, HELD, staged_path

USER: Final = 65534
WORK: Final = "/work"
CTX: Final = "/run/swarm"
_PROGRAM_PARTS: Final = 16
"""Scratch may hold the task's memory but this part, which a program needs to live: so who fills it
is told that it is full, and is not killed for it."""
_SYSTEM_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_MERGED: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_APART: Final = (
    "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts",
    "--unshare-cgroup-try", "--uid", str(USER), "--gid", str(USER), "--cap-drop", "ALL",
    "--disable-userns", "--die-with-parent", "--new-session", "--hostname", "swarm",
)  # fmt: skip
_PROC_HIDDEN: Final = (
    "kcore", "keys", "kmsg", "kpagecgroup", "kpagecount", "kpageflags", "latency_stats",
    "sched_debug", "slabinfo", "sysrq-trigger", "timer_list", "vmallocinfo",
)  # fmt: skip
"""Files about the kernel that tell root more than others; Docker hides most of them, too."""

_ALWAYS: Final[Mapping[str, str]] = {
    "LANG": "C.UTF-8",
    "USER": "swarm",
    "LOGNAME": "swarm",
    "PYTHONUNBUFFERED": "1",  # what a program prints is seen while it runs
}
_ETC: Final = (
    "ca-certificates", "localtime", "mime.types",
    "pki/ca-trust/extracted", "pki/tls/cert.pem", "pki/tls/certs", "ssl/certs", "ssl/openssl.cnf",
)  # fmt: skip
"""What programs need to check certificates; never ssl/private or pki/tls/private."""
_LINKED: Final = ("alternatives", "ld.so.cache")
"""And to find programs and libraries of this machine."""


class OwnSystem(msgspec.Struct, frozen=True):
    """Where a job of a plain user's has an image that it may write to, and how much."""

    folder: Path
    size_bytes: int
    trouble: str = ""
    """Why it may not."""


class Sources:
    """Where bubblewrap finds what it binds: in place, or staged for a user who may not go there."""

    def __init__(self, *, is_staged: bool, pinned: Mapping[str, str], own: OwnSystem) -> None:
        self._is_staged, self._own = is_staged, own
        self._pinned = pinned
        """Where some of them must be, as was found out before; stage.py follows no link."""
        self.staged: list[str] = []
        """Paths in the order in which stage.py lays them out."""
        self.system: list[tuple[str, str]] = []
        """Of a plain user's job: the order for an image that it may write to."""

    def __call__(self, path: Path) -> str:
        if not self._is_staged:
            return str(path)
        self.staged.append(self._pinned.get(str(path)) or os.path.realpath(path))
        return staged_path(len(self.staged) - 1)

    def writable(self, path: Path) -> tuple[str, str]:
        """How bubblewrap shows a system that the task may write to, which changes nothing in it,
        and where it finds that; where this machine cannot do it the task's log says so."""
        if self._own.trouble:
            self.system = [("note", f"swarm: {self._own.trouble}")]
            return "--ro-bind", self(path)
        if self._is_staged:
            self.staged.append(marked(os.path.realpath(path), self._own.size_bytes))
            return "--bind", staged_path(len(self.staged) - 1)
        told = (str(path), str(self._own.folder), str(self._own.size_bytes))
        self.system = list(zip(("system", "system_at", "system_bytes"), told, strict=True))
        return "--bind", str(self._own.folder / BELOW)

    def answered(self, place: Path, *, is_folder: bool) -> str:
        """Likewise for a dataset that a node answers for; in place it lies at `place`."""
        if not self._is_staged:
            return str(place)
        self.staged.append(FOLDER if is_folder else FILE)
        return staged_path(len(self.staged) - 1)

    def held(self, number: int) -> str:
        """Likewise for a file system that the shim holds by a descriptor."""
        assert self._is_staged
        self.staged.append(f"{HELD}{number}")
        return staged_path(len(self.staged) - 1)


class SandboxView(msgspec.Struct, frozen=True):
    """What one job is to see."""

    work: str
    """Where `sources` has the work folder."""
    ctx: Path
    """Folder with `swarm_ctx.py` and `ctx.sock`, bound at /run/swarm."""
    etc: Path
    """Folder with our own passwd, group and hosts."""
    env: Mapping[str, str]
    tmp_bytes: int
    """Of /tmp, and of /dev/shm: counted as the job's memory."""
    cpus: str
    """Where `sources` has the list of the job's processors."""
    sources: Sources
    environment: tuple[str, ...] = ()
    """Options that show the environment asked for."""
    has_own_system: bool = False
    """That brings programs and libraries of its own, in place of this machine's /usr."""
    system: tuple[str, ...] = ()
    """Options that show all of them and its /etc, if it has that as well."""
    devices: tuple[str, ...] = ()
    """Device files of granted GPUs."""
    has_net: bool = False
    """It comes with a network that the shim's child has made; else it gets one that is empty."""
    has_web: bool = False
    """It comes with one that is empty but for the datasets by HTTP, likewise made."""
    data: tuple[tuple[str, str], ...] = ()
    """Datasets: where `sources` has each, and where the task is to see it."""
    limit_pids: bool = False
    """The shim limits processes by itself, before the task begins."""


def scratch_bytes(spec: JobSpec) -> int:
    """Of each place in memory that a job may write to."""
    return spec.memory_bytes - spec.memory_bytes // _PROGRAM_PARTS


def bwrap_argv(
    bwrap: str, argv: Sequence[str], *, limit_pids: bool, has_secrets: bool, run_bytes: int = 0
) -> list[str]:
    """The visible part of the command line: numbers of files, and the task's own command."""
    block = ["--block-fd", str(FD_BLOCK)] if limit_pids else []
    secrets = ["--args", str(FD_OPTIONS)] if has_secrets else []  # some lie in /run
    run = ["--size", str(run_bytes), "--tmpfs", "/run"] if run_bytes else []
    return [
        bwrap, "--clearenv", *run, *secrets, "--args", str(FD_ARGS), "--seccomp", str(FD_SECCOMP),
        "--json-status-fd", str(FD_STATUS), *block, "--", *argv,
    ]  # fmt: skip


def bwrap_options(view: SandboxView) -> list[str]:
    """The options for `bwrap --args`."""
    alone = () if view.has_net or view.has_web else ("--unshare-net",)
    shown = view.system or (_certificates() if view.has_own_system else _system())
    options = [
        *_APART,
        *alone,
        *shown,
        *_scratch(view),
        *view.environment,
        *_gpus(view.devices),
    ]
    for source, target in view.data:
        options += ["--ro-bind", source, target]
    for name in ("online", "possible", "present"):  # what sysconf(3), so os.cpu_count(), reads
        options += ["--ro-bind", view.cpus, f"/sys/devices/system/cpu/{name}"]
    # bubblewrap's / and /dev are writable memory of half the machine's size unless remounted. A
    # node that is root makes tasks that own /proc/sys, though without any capability: read-only.
    for path in ("/proc", "/dev", "/"):
        options += ["--remount-ro", path]
    options += ["--chdir", WORK]
    for key, value in view.env.items():
        options += ["--setenv", key, value]
    return options


def write_args(path: Path, options: Sequence[str]) -> None:
    """Readable by nobody else: the task's environment is among them. ValueError: see pairs.py."""
    if odd := [option for option in options if "\0" in option]:
        raise ValueError(f"{odd[0][:40]!r} would be more than one option of the sandbox")
    with open(path, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(b"".join(os.fsencode(option) + b"\0" for option in options))


def _system() -> list[str]:
    options = ["--ro-bind", "/usr", "/usr"]
    for name in _MERGED:
        path = f"/{name}"
        if os.path.islink(path):
            options += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):  # a system whose /usr is not merged
            options += ["--ro-bind", path, path]
    return [*options, *_certificates(), *_etc(_LINKED)]


def _certificates() -> list[str]:
    return _etc(_ETC)


def _etc(names: Sequence[str]) -> list[str]:
    options = []
    for name in names:
        options += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    return options


def _scratch(view: SandboxView) -> list[str]:
    size = ["--size", str(view.tmp_bytes), "--tmpfs"]
    options = ["--proc", "/proc", "--dev", "/dev", *size, "/dev/shm", *size, "/tmp"]  # noqa: S108
    for name in _PROC_HIDDEN:
        if os.path.exists(f"/proc/{name}"):
            options += ["--ro-bind", "/dev/null", f"/proc/{name}"]
    for name in ("passwd", "group", "hosts", *(ETC_NET if view.has_net else ())):
        options += ["--ro-bind", view.sources(view.etc / name), f"/etc/{name}"]
    return [*options, "--bind", view.work, WORK, "--ro-bind", view.sources(view.ctx), CTX]


def _gpus(devices: Sequence[str]) -> list[str]:
    """What CUDA needs: control and memory nodes, and of the GPUs only those granted."""
    if not devices:
        return []
    shared = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-caps")
    options = []
    for path in (*shared, *devices):
        options += ["--dev-bind-try", path, path]
    return [*options, "--ro-bind-try", "/sys", "/sys"]


def task_environment(
    asked: Mapping[str, str],
    *,
    home: str,
    tmp: str,
    ctx: str,
    bins: Sequence[str],
    libraries: str = "",
) -> dict[str, str]:
    """The variables a task starts with; what it asked for wins, except where ours come first."""
    path = ":".join([*bins, asked.get("PATH", _SYSTEM_PATH)])
    modules = ":".join(part for part in (asked.get("PYTHONPATH", ""), ctx) if part)
    found = ":".join(part for part in (asked.get("LD_LIBRARY_PATH", ""), libraries) if part)
    return {
        **({"LD_LIBRARY_PATH": found} if found else {}),
        "HOME": home,
        "TMPDIR": tmp,
        **_ALWAYS,
        **{key: value for key, value in asked.items() if key != "LD_LIBRARY_PATH"},
        "PATH": path,
        "PYTHONPATH": modules,
        "SWARM_CTX": f"{ctx}/ctx.sock",
        "SWARM_WORK": home,
    }
