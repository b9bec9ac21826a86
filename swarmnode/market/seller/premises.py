"""What jobs here run on and with, as one argument."""

from typing import Protocol

import msgspec

from storage.engine.port import Tables
from storage.facade import Objects
from swarmnode.executor.port import Executor, JobId
from swarmnode.market.run.builds import Certify
from swarmnode.market.run.runner import JobMemory
from swarmnode.market.run.staging import JobData
from swarmnode.resources.port import Machine
from swarmnode.tasks.ids import TaskId


class SellerMemory(JobMemory, Protocol):
    """The part of MemoryService that is needed here."""

    def acknowledge(self, job: JobId, made_ms: int) -> None: ...

    async def discard(self, task: TaskId) -> None: ...

    async def forget_stale(self, in_use: frozenset[TaskId]) -> None: ...


class Premises(msgspec.Struct, frozen=True):
    """Where jobs run, and what of this machine they are given."""

    executor: Executor
    machine: Machine
    tables: Tables
    objects: Objects
    memory: SellerMemory
    datasets: JobData
    certify: Certify | None = None
    """Signs what is built here; None: nothing is built that others could use."""
