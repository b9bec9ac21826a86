"""Sees jobs to their ends: from the spawn of a shim, or from when a node found one.

What nobody foresaw is the end of the job it came up with, and of no other.
"""

from collections.abc import Callable, Sequence
from functools import partial

import trio

from p2p.workers import Workers
from swarmnode.contained import contained
from swarmnode.executor import ctx_server, devices
from swarmnode.executor.job import ExecutorJob
from swarmnode.executor.job_folder import lost_exit
from swarmnode.executor.launch import answered
from swarmnode.executor.network.resolver import Resolver
from swarmnode.executor.network.room import ConnectionRoom
from swarmnode.executor.network.service import JobNetwork, no_mirror
from swarmnode.executor.port import DataDevice, DataReaders, DataServer, JobCall, MirrorServer
from swarmnode.executor.watch import final_exit, kill_left_over, reap, until_gone, until_ready
from swarmnode.tasks.records import FAULT


class Attendant:
    """Of all jobs of one executor."""

    def __init__(
        self,
        workers: Workers,
        stock: Callable[[ExecutorJob], None],
        resolver: Resolver,
        private: Sequence[str],
        connections: int,
    ) -> None:
        """`stock` is called, in a thread, once a job runs; `private`: see TaskNet; `connections`:
        of all tasks together."""
        self._workers, self._stock = workers, stock
        self._resolver, self._private = resolver, private
        self._room = ConnectionRoom(connections)
        self.answer: JobCall = ctx_server.nobody
        """To the tasks' `ctx` requests."""
        self.serve: DataServer = devices.nobody
        """To those who read the tasks' datasets."""
        self.mirror: MirrorServer = no_mirror
        """To those who ask the mirrors in the tasks' networks."""

    async def attend(self, job: ExecutorJob, shim: int, ready: int) -> None:
        """To its end. `shim`, `ready`: as `Launcher.start` has them; 0 and -1 for one found."""
        with contained(f"job {job.record.spec.job}") as bound:
            await self._see_to_its_end(job, shim, ready)
        if bound.has_faulted:
            with contained(f"the end of job {job.record.spec.job}"):
                await self._workers.run(partial(kill_left_over, job.folder, job.record))
            job.exit = lost_exit(FAULT)
            job.started.set()
            job.ended.set()

    async def _see_to_its_end(self, job: ExecutorJob, shim: int, ready: int) -> None:
        async with trio.open_nursery() as nursery:
            is_there = shim or job.folder.shim_lives()
            if is_there:
                answer = partial(self.answer, job.record.spec.job)
                await nursery.start(ctx_server.run, job.folder, job.record.uid, answer)
            nursery.start_soon(partial(self._answer_data, job, is_taken_over=not shim))
            if ready >= 0:
                await until_ready(job.folder, shim, ready)
                job.look()
                nursery.start_soon(self._workers.run, partial(self._stock, job))
            job.started.set()
            if is_there and job.record.spec.net:
                nursery.start_soon(self._network, job)
            await until_gone(job.folder, shim)
            reap(shim)
            job.exit = await self._workers.run(partial(final_exit, job.folder, job.record))
            job.ended.set()
            nursery.cancel_scope.cancel()

    async def _answer_data(self, job: ExecutorJob, *, is_taken_over: bool) -> None:
        """Have the datasets of a job answered for as long as it runs."""
        spec = job.record.spec
        if not (mounts := [one for _, one in answered(spec)]):
            return

        async def serve(held: Sequence[DataDevice], web: int) -> None:
            readers = DataReaders(tuple(mounts), tuple(held), web, is_taken_over)
            await self.serve(spec.job, readers)

        await devices.run(job.folder, serve)

    async def _network(self, job: ExecutorJob) -> None:
        with self._room.part() as part:
            given = (job.folder, job.record.spec, self._private, self._resolver)
            job.network = JobNetwork(*given, part, self.mirror)
            await job.network.run()
