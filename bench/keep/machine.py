"""One machine of the bench: a disk, a network, a clock and a node of its own."""

import contextlib
import fcntl
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.keep import watch
from swarmnode.demo.launcher import STOP_S, LocalNode, LocalSwarm, groups_of, processes_of

DISK_BYTES: Final = 6 * 1024**3  # sparse
_SHUTDOWN: Final = 0x8004587D  # EXT4_IOC_SHUTDOWN, linux/fs/ext4/ext4.h
_WITHOUT_LOG: Final = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH: as when the power fails
SETTINGS: Final = {
    "STORAGE__MIN_FREE_GIB": "0.05",
    "STORAGE__QUOTA_GIB": "4",
    "COMPUTE__DISK_GIB": "1",
    "TIMERS__LEASE_S": "6",
    "TIMERS__LEASE_RENEW_S": "2",
    "TIMERS__ORPHAN_GRACE_S": "10",
}
LEASE_GRACE_S: Final = 16.0
"""What SETTINGS say."""


def command(*argv: str) -> str:
    """Run one to its end; what it printed. Raises CalledProcessError."""
    done = subprocess.run(argv, check=True, capture_output=True, text=True)  # noqa: S603 - ours
    return done.stdout


@dataclass(slots=True)
class Machine:
    """What can happen to it. `is_out` while something does: nobody asks it then."""

    number: int
    root: Path
    swarm: LocalSwarm
    logs: Path | None
    """Where its log is left when it goes away and at the end; None: nowhere."""
    is_out: bool = False
    not_started: int = 0
    """Starts after which it was not ready in time."""
    ended: list[str] = field(default_factory=list)
    """The last lines of its log each time its daemon ended by itself."""
    node: LocalNode = field(init=False)
    _namespace: "subprocess.Popen[bytes]" = field(init=False)

    @property
    def address(self) -> str:
        """Of its only device."""
        return f"10.78.{self.number}.2"

    @property
    def home(self) -> Path:
        """The node's, a disk of its own."""
        return self.root / f"m{self.number}"

    @property
    def inside(self) -> tuple[str, ...]:
        """What a command begins with that runs in its network."""
        return ("/usr/bin/nsenter", f"--net=/proc/{self._namespace.pid}/ns/net")

    def make(self) -> None:
        """Format the disk, lay the wire, enrol the node; not started yet."""
        self._image.touch()
        os.truncate(self._image, DISK_BYTES)
        command("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1", str(self._image))
        self.home.mkdir()
        self._mount()
        self.home.chmod(0o700)
        self._namespace = subprocess.Popen(["/usr/bin/unshare", "--net", "sleep", "infinity"])
        ours = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{self._namespace.pid}/ns/net") == ours:
            pause(0.01)  # it is not in its own network yet: the wire would end in ours
        self._lay_wire()
        self._clock.write_text("0")
        self.node = self.swarm.add(self.home.name, self.address, **SETTINGS)
        self.node.environ["KEEP_CLOCK"] = str(self._clock)

    def start(self, within_s: float) -> None:
        """Start the daemon and wait until it is ready; a node that is not is counted."""
        self.swarm.start(self.node, [*self.inside, sys.executable, "-m", "bench.keep.skewed"])
        until_s = time.monotonic() + within_s
        while time.monotonic() < until_s and self.node.running:
            if self.swarm.is_ready(self.node):
                return
            pause(0.2)
        self.not_started += 1

    def supervise(self, within_s: float) -> None:
        """What a supervisor does: note a daemon that ended by itself, and start it again."""
        if not (self.is_out or self.node.running):
            self.ended.append(self.node.log_tail())
            self.start(within_s)

    def leave_log(self) -> None:
        """Copy its log so far out of its disk, where someone wants it."""
        if self.logs is not None and (self.home / "node.log").exists():
            shutil.copy(self.home / "node.log", self.logs / f"{self.home.name}.log")

    def close(self) -> None:
        """End it for good."""
        self.leave_log()
        self.thaw()
        for pid in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.CalledProcessError):  # a gone one is not mounted
            command("umount", "-l", str(self.home))

    # -- what happens to it

    def kill(self) -> None:
        """The daemon dies, its tasks do not."""
        self.swarm.kill_daemon(self.node)

    def power_off(self) -> None:
        """Every process dies at once, and what was not synced is gone."""
        self.freeze()  # so that nobody sees the disk fail before it dies
        self.leave_log()
        processes, groups = self._processes(), groups_of(self.home)
        disk = os.open(self.home, os.O_RDONLY)
        try:
            fcntl.ioctl(disk, _SHUTDOWN, struct.pack("I", _WITHOUT_LOG))
        finally:
            os.close(disk)
        for pid in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for group in groups:
            group.kill(STOP_S)
            group.remove()
        self.swarm.kill_daemon(self.node)
        self._unmount()

    def power_on(self) -> None:
        """The disk is there again; start the node with `start`."""
        self._mount()

    def freeze(self) -> None:
        """Stop every process of the machine, tasks too."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def set_clock(self, ahead_s: float) -> None:
        """The wall clock is so far ahead; the file is renamed so that nobody reads half of it."""
        fresh = self._clock.with_suffix(".new")
        fresh.write_text(str(int(ahead_s * 1000)))
        fresh.replace(self._clock)

    def fill_disk(self) -> None:
        """Take every free byte."""
        with contextlib.suppress(OSError), self._ballast.open("wb") as file:
            for piece in (64 << 20, 1 << 20, 4096):
                with contextlib.suppress(OSError):
                    while True:
                        at = file.tell()
                        os.posix_fallocate(file.fileno(), at, piece)
                        file.seek(at + piece)

    def empty_disk(self) -> None:
        """Give it back."""
        self._ballast.unlink(missing_ok=True)

    def cut_from(self, others: Sequence["Machine"], *, off: bool) -> None:
        """No packet goes between it and the others; with `off` False they do again."""
        for other in others:
            for here, there in ((self, other), (other, self)):
                command(
                    "ip", "rule", "add" if off else "del",
                    "from", here.address, "to", there.address, "blackhole",
                )  # fmt: skip

    # -- inside

    @property
    def _image(self) -> Path:
        return self.root / f"m{self.number}.img"

    @property
    def _clock(self) -> Path:
        return self.root / f"m{self.number}.clock"

    @property
    def _ballast(self) -> Path:
        return self.home / "ballast"

    def _mount(self) -> None:
        command("mount", "-o", "loop", str(self._image), str(self.home))

    def _unmount(self) -> None:
        """Returns once the disk is let go of: namespaces of killed tasks end a moment later."""
        until_s = time.monotonic() + STOP_S
        while time.monotonic() < until_s:
            with contextlib.suppress(subprocess.CalledProcessError):
                command("umount", str(self.home))
            if not os.path.ismount(self.home) and not self._loop_device():
                return
            pause(0.1)
        raise RuntimeError(f"{self.home} cannot be unmounted: {self._loop_device()} is in use")

    def _loop_device(self) -> str:
        return command("losetup", "-j", str(self._image))

    def _lay_wire(self) -> None:
        outer, gateway = f"v{self.number}", f"10.78.{self.number}.1"
        command("ip", "link", "add", outer, "type", "veth", "peer", "name", "eth0",
                "netns", str(self._namespace.pid))  # fmt: skip
        command("ip", "address", "add", f"{gateway}/24", "dev", outer)
        command("ip", "link", "set", outer, "up")
        inside = (*self.inside, "ip")
        command(*inside, "link", "set", "lo", "up")
        command(*inside, "address", "add", f"{self.address}/24", "dev", "eth0")
        command(*inside, "link", "set", "eth0", "up")
        command(*inside, "route", "add", "default", "via", gateway)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _processes(self) -> list[int]:
        """The daemon, the shims and whatever runs below them."""
        return watch.with_descendants(processes_of(self.home))


def pause(seconds: float) -> None:
    """Let time pass."""
    threading.Event().wait(seconds)
