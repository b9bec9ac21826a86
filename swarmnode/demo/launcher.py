"""A swarm of real node processes on loopback, each in a home of its own.

Used by the demo, the benches and testnet's loopback launcher. Standard library only, so that it can
watch nodes from outside as anybody would: through their API sockets and through /proc.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec

from p2p.identity.issue import DAY_MS, Grant, Names
from swarmnode.cli.client import ApiError, Client, NodeUnreachableError
from swarmnode.demo.report import StepFailedError, until
from swarmnode.demo.stage import StageNode
from swarmnode.errors import JobDamagedError
from swarmnode.executor.job_folder import JobFolder
from swarmnode.executor.kernel.cgroup import JobCgroup
from swarmnode.home import enrol
from swarmnode.home.folders import Home

READY_S = 20.0
STOP_S = 10.0
_DAEMON = (sys.executable, "-m", "swarmnode.daemon")


class LocalNode(msgspec.Struct):
    """One node: its home, its process, its API."""

    name: str
    home: Path
    listen: str
    peer: str
    environ: dict[str, str]
    client: Client
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the daemon, 0 when it is not running."""
        return self.process.pid if self.process else 0

    @property
    def running(self) -> bool:
        """True while the daemon lives."""
        return self.process is not None and self.process.poll() is None

    def log_tail(self) -> str:
        """The last lines the daemon wrote, for an error message."""
        path = self.home / "node.log"
        return (
            "\n".join(path.read_text(errors="replace").splitlines()[-12:]) if path.exists() else ""
        )


class LocalSwarm(msgspec.Struct):
    """Founds a network under `root` and runs its nodes."""

    root: Path
    profile: str = "test"
    environ: dict[str, str] = msgspec.field(default_factory=dict)
    nodes: list[LocalNode] = msgspec.field(default_factory=list)
    keep: bool = False
    own_people: bool = False
    """Each node is another person's, all of one lab; else all are the founder's."""
    own_labs: bool = False
    """Each of those people has a lab of their own."""
    _groups: list[str] = msgspec.field(default_factory=list)
    """Control groups of every task that ran here; they must be gone in the end."""

    def add(self, name: str, address: str = "127.0.0.1", **settings: str) -> LocalNode:
        """Create one node's home, certified and knowing the first node; not started.

        It listens on `address`; `settings` are SECTION__KEY values of this node alone.
        """
        listen = f"/ip4/{address}/tcp/{_free_port()}"
        home = self.root / name
        lab = f"lab-{name}" if self.own_labs else "demo-lab"
        names = Names(name, "demo", lab, f"site-{name}", ("compute", "storage"))
        peer = self._enrol(home, names)
        environ = {
            **self._environ(home, names),
            "SWARM_LISTEN__ADDRESSES": listen,
            **self.environ,
            **{f"SWARM_{key}": value for key, value in settings.items()},
        }
        client = Client(home / "run" / "api.sock")
        node = LocalNode(name, home, f"{listen}/p2p/{peer}", peer, environ, client)
        self.nodes.append(node)
        return node

    def _environ(self, home: Path, names: Names) -> dict[str, str]:
        """Nothing of ours but what is no setting of a node."""
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith("SWARM_")},
            "SWARM_HOME": str(home),
            "SWARM_NODE__PROFILE": self.profile,
            "SWARM_NODE__NAME": names.machine,
            "SWARM_NODE__SITE": names.site,
        }

    def _enrol(self, home: Path, names: Names) -> str:
        from time import time_ns

        place = Home(home, home, home / "cache", home / "run")
        now_ms = time_ns() // 1_000_000
        if not self.nodes:
            return enrol.found_network(place, names, os.urandom, now_ms).peer
        first = self.nodes[0]
        founder = Home(first.home, first.home, first.home / "cache", first.home / "run")
        own_machine = not (self.own_people or self.own_labs)
        grant = Grant(1, DAY_MS, DAY_MS, new_lab=self.own_labs, own_machine=own_machine)
        invite = enrol.make_invite(founder, [first.listen], grant, os.urandom, now_ms)
        return enrol.join(place, invite, names, os.urandom, now_ms).peer

    def start(self, node: LocalNode, program: Sequence[str] = _DAEMON) -> None:
        """Start one daemon; its output goes to node.log in its home."""
        with open(node.home / "node.log", "ab", opener=_private) as log:
            node.process = subprocess.Popen(  # noqa: S603
                program,
                env=node.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_ready(self, within_s: float = READY_S) -> None:
        """Return once every started node is ready. Raises StepFailedError with its log."""
        for node in self.nodes:
            if node.process is None:
                continue
            try:
                until(partial(self.is_ready, node), within_s=within_s, what=node.name)
            except StepFailedError as error:
                text = f"{node.name} is not ready after {within_s:.0f} s:\n{node.log_tail()}"
                raise StepFailedError(text) from error

    def is_ready(self, node: LocalNode) -> bool:
        """Whether /readyz says yes. Raises StepFailedError when the daemon has ended."""
        if not node.running:
            raise StepFailedError(f"{node.name} ended by itself")
        try:
            node.client.wait_ready(0.2)
        except (NodeUnreachableError, ApiError):
            return False
        return True

    def alive(self) -> list[LocalNode]:
        """Nodes whose daemon runs."""
        return [node for node in self.nodes if node.running]

    def node_of(self, peer: str) -> LocalNode:
        """The node with that peer id."""
        return next(node for node in self.nodes if node.peer == peer)

    def name_of(self, peer: str) -> str:
        """Its name, for people."""
        return next((node.name for node in self.nodes if node.peer == peer), peer[-8:])

    def kill_daemon(self, node: LocalNode) -> None:
        """SIGKILL the daemon alone: its tasks live on."""
        if node.process is not None:
            node.process.kill()
            node.process.wait()

    def kill_machine(self, node: StageNode) -> None:
        """SIGKILL the daemon and every process of its home, as a power cut would."""
        mine = self.node_of(node.peer)
        self.kill_daemon(mine)
        for pid in processes_of(mine.home):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for group in groups_of(mine.home):
            group.kill(STOP_S)
            group.remove()

    def stop(self) -> None:
        """SIGTERM everybody, wait, and remove the folders unless they are kept."""
        for node in self.alive():
            assert node.process is not None
            node.process.terminate()
        for node in self.nodes:
            if node.process is None:
                continue
            try:
                node.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill_machine(node)
                raise StepFailedError(f"{node.name} ignored SIGTERM for {STOP_S:.0f} s") from None
            for group in groups_of(node.home):
                self._groups += group.dirs.values()
        if not self.keep:
            shutil.rmtree(self.root, ignore_errors=False)

    def destroy(self) -> None:
        """Whatever still runs dies, whatever is left goes; for the way out after a failure."""
        for node in self.nodes:
            self.kill_machine(node)
        if not self.keep:
            shutil.rmtree(self.root, ignore_errors=True)

    def leftovers(self) -> list[str]:
        """Processes, control groups and folders of this swarm that should be gone."""
        left = [f"pid {pid}" for node in self.nodes for pid in processes_of(node.home)]
        left += [path for path in self._groups if os.path.exists(path)]
        if self.root.exists() and not self.keep:
            left.append(str(self.root))
        return left


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def new_root() -> Path:
    """A fresh folder short enough for unix sockets below it."""
    return Path(tempfile.mkdtemp(prefix="swarm-"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def groups_of(home: Path) -> list[JobCgroup]:
    """The control groups of every job that has a folder there."""
    jobs = home / "tasks" / "jobs"
    folders = [JobFolder(path) for path in sorted(jobs.iterdir())] if jobs.is_dir() else []
    groups = []
    for folder in folders:
        with contextlib.suppress(JobDamagedError):
            record = folder.read_record()
            groups += [] if record is None else [JobCgroup(record.cgroup)]
    return groups


def processes_of(home: Path) -> list[int]:
    """Processes other than ours that have the home in their command line or environment."""
    marks = (os.fsencode(home) + b"/", os.fsencode(home) + b"\0")
    pids = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            if any(mark in text for mark in marks):
                pids.append(int(entry.name))
    return sorted(pids)
