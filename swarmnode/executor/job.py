"""One job as its executor knows it, besides what is in its folder."""

import os

import msgspec
import trio

from swarmnode.executor import life
from swarmnode.executor.job_folder import CrashRecord, JobFolder
from swarmnode.executor.network.service import JobNetwork, traffic_of
from swarmnode.executor.port import JobExit, JobView


class ExecutorJob(msgspec.Struct):
    """From its start, or from when a node found it, until it is forgotten."""

    folder: JobFolder
    record: CrashRecord
    started: trio.Event = msgspec.field(default_factory=trio.Event)
    """Its process runs, or never will: `start` waits for that."""
    ended: trio.Event = msgspec.field(default_factory=trio.Event)
    """`exit` is set: no process of it lives."""
    pid: int = 0
    """0 until its shim has said it."""
    started_ms: int = 0
    exit: JobExit | None = None
    node_died_ms: int = 0
    """As JobView has them."""
    node_deaths: int = 0
    ordered_ns: int = 0
    network: JobNetwork | None = None
    """Its own, while it runs, if it asked for one."""

    def look(self) -> None:
        """Take from the folder what the shim, or the node before us, wrote there."""
        self.node_died_ms, self.node_deaths = life.deaths_of(self.folder)
        if (state := self.folder.read_state()) is not None:
            self.pid, self.started_ms = state.pid, state.started_ms
        self.ordered_ns = self.folder.ordered_ns()

    def read_log(self, stream: str, offset: int, count: int) -> bytes:
        """Bytes of stdout or stderr from there on. Raises OSError."""
        fd = os.open(self.folder.stream(stream), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return os.pread(fd, count, offset)
        finally:
            os.close(fd)

    def view(self) -> JobView:
        """For the executor's callers."""
        asked = self.record.spec.net
        noted = traffic_of(self.folder) if asked and self.network is None else (0, 0)
        up_bytes, down_bytes = noted if self.network is None else self.network.traffic
        return JobView(
            self.record.spec.job,
            self.pid,
            self.started_ms,
            self.exit,
            self.node_died_ms,
            self.node_deaths,
            self.ordered_ns,
            up_bytes,
            down_bytes,
        )
