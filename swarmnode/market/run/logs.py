"""Brings what a job prints to its submitter: every byte, in order, also across restarts.

The submitter says how much it has, and we go on from there; so either side may forget and start
again. Small pieces go at once while somebody reads along, else what has gathered in a second.
"""

from typing import Final

import trio

from p2p.errors import CallTimeoutError, PeerUnreachableError, RemoteRefusalError
from p2p.host.rpc.service import Rpc
from p2p.ids import PeerId, TrafficClass
from swarmnode.executor.port import Executor, JobId
from swarmnode.limits import LOG_OFFSET_MAX, LOG_PUSH_BYTES_MAX
from swarmnode.tasks.choices import STREAMS
from swarmnode.tasks.messages import LogTaken, PushLog
from swarmnode.tasks.records import JobRecord

GATHER_S: Final = 0.5
"""How long output gathers while nobody reads along, so that whoever comes to read has it within a
second; a chatty task is two messages a second."""
CALL_TIMEOUT_S: Final = 10.0
PUSH_AGAIN_S: Final = 0.5
PUSH_AGAIN_MAX_S: Final = 5.0
_PASSING: Final = ("busy", "full")
"""Refusals after which a later try may do better."""


class LogUnwantedError(Exception):
    """The submitter no longer takes this attempt's log."""


class LogPusher:
    """Sends one stream of one job; `run` returns when all was taken, or is not wanted."""

    def __init__(self, rpc: Rpc, executor: Executor, record: JobRecord, stream: str) -> None:
        self._rpc = rpc
        self._executor = executor
        self._record = record
        """Its buyer gets the log; replaced by `turn_to`."""
        self._job = JobId(record.job)
        self._stream = stream
        self._has_ended = trio.Event()
        """The job prints no more."""
        self.reader = PeerId("")
        """Who said last how much of it there is."""
        self._growing: trio.CancelScope | None = None
        """Ends the wait for more, for another buyer; None while nothing is waited for."""

    def end(self) -> None:
        """The job has ended: what is left goes without waiting for more."""
        self._has_ended.set()

    def turn_to(self, record: JobRecord) -> None:
        """To another machine from now on; it is asked what it has."""
        self._record = record
        if self._growing is not None:
            self._growing.cancel()

    async def run(self) -> None:
        """Push until the job has ended and the submitter has every byte."""
        try:
            taken = await self._push(0, b"")
            while True:
                if self.reader != self._record.buyer:
                    taken = await self._push(0, b"")
                await self._until_grown(taken)
                if self.reader != self._record.buyer:
                    continue
                data = await self._next(taken)
                if data:
                    taken = await self._push_on(taken, data)
                elif self._has_ended.is_set() and self.reader == self._record.buyer:
                    return
                else:
                    await self._until_ended_or(PUSH_AGAIN_S)
        except LogUnwantedError:
            return

    async def _until_grown(self, taken: LogTaken) -> None:
        """There is more than that, or another buyer."""
        with trio.CancelScope() as self._growing:
            await self._executor.log_grew(self._job, self._stream, taken.have)
        self._growing = None

    async def _next(self, taken: LogTaken) -> bytes:
        if not taken.followed:
            await self._until_ended_or(GATHER_S)
        return await self._executor.read_log(
            self._job, self._stream, taken.have, LOG_PUSH_BYTES_MAX
        )

    async def _push_on(self, before: LogTaken, data: bytes) -> LogTaken:
        taken = await self._push(before.have, data)
        if taken.have <= before.have:  # it has lost some, or cannot store: no haste
            await trio.sleep(PUSH_AGAIN_S)
        return taken

    async def _until_ended_or(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self._has_ended.wait()

    async def _push(self, offset: int, data: bytes) -> LogTaken:
        """Until the submitter answers. Raises LogUnwantedError."""
        again_s = PUSH_AGAIN_S
        request = PushLog(self._record.task, self._record.fence, self._stream, offset)
        while True:
            buyer = self._record.buyer
            try:
                return await self._ask(buyer, request, data)
            except (PeerUnreachableError, CallTimeoutError):
                pass  # it may be back soon
            except RemoteRefusalError as refusal:
                if refusal.code not in _PASSING and buyer == self._record.buyer:
                    self.reader = buyer
                    raise LogUnwantedError(refusal.detail) from refusal
            await trio.sleep(again_s)
            again_s = min(again_s * 2, PUSH_AGAIN_MAX_S)

    async def _ask(self, buyer: PeerId, request: PushLog, data: bytes) -> LogTaken:
        reply, _ = await self._rpc.call(
            buyer,
            request,
            LogTaken,
            traffic_class=TrafficClass.NORMAL,
            timeout_s=CALL_TIMEOUT_S,
            body=data,
        )
        if not 0 <= reply.have <= LOG_OFFSET_MAX:
            raise LogUnwantedError(f"no log has {reply.have} bytes")
        self.reader = buyer
        return reply


def log_bytes(executor: Executor, job: JobId) -> tuple[int, ...]:
    """What a job has printed so far to each of STREAMS."""
    return tuple(executor.log_length(job, stream) for stream in STREAMS)


class JobLog:
    """Both streams of one job, to whoever acts for its task."""

    def __init__(self, rpc: Rpc, executor: Executor, record: JobRecord) -> None:
        self._pushers = tuple(LogPusher(rpc, executor, record, stream) for stream in STREAMS)

    def push(self, nursery: trio.Nursery) -> None:
        """In the nursery, until every byte was taken or is not wanted."""
        for pusher in self._pushers:
            nursery.start_soon(pusher.run)

    def turn_to(self, record: JobRecord) -> None:
        """To another machine from now on."""
        for pusher in self._pushers:
            pusher.turn_to(record)

    def end(self) -> None:
        """The job prints no more."""
        for pusher in self._pushers:
            pusher.end()

    def reader(self, buyer: PeerId) -> PeerId:
        """Who has it whole, of a job whose buyer is `buyer` by now.

        Where one stream was over before the buyer changed, and the other was not, the one before.
        """
        # None: it never started.
        readers = (pusher.reader for pusher in self._pushers if pusher.reader)
        return next((peer for peer in readers if peer != buyer), buyer)
