"""What is saved in the pool and brought back from there, as one argument."""

from collections.abc import AsyncGenerator, Callable
from typing import Protocol

import msgspec

from p2p.ids import PeerId
from storage.engine.port import Tables
from storage.facade import Objects
from storage.objects.keyring import Keyring
from swarmnode.edges import Vault
from swarmnode.market.buyer.own_machines.machines import OwnMachines
from swarmnode.market.explain import TaskEvent
from swarmnode.tasks.ids import TaskId


class OwnTasks(Protocol):
    """The part of BuyerService that is needed here."""

    def events(self) -> AsyncGenerator[TaskEvent, None]: ...

    def keep_copies(self, on_removed: Callable[[], None]) -> None:
        """From now on `copied` is said of what has ended: others remember it until then.

        `on_removed`: a task of ours is no more.
        """
        ...

    def uncopied(self) -> frozenset[TaskId]:
        """Tasks that have ended, of which the pool may not know yet."""
        ...

    def copied(self, tasks: frozenset[TaskId]) -> None:
        """The pool knows of their ends, and has their logs."""
        ...


class EndedLogs(Protocol):
    """The part of LogKeeper that is needed here."""

    async def settled(self, ended: frozenset[TaskId]) -> frozenset[TaskId]:
        """Those of these tasks whose logs are on the keyring; waits a moment for the others."""
        ...

    async def copied(self) -> None:
        """The pool has the keyring as it was when that was asked, or newer."""
        ...


class Things(msgspec.Struct, frozen=True):
    """Of one machine of a person."""

    vault: Vault
    objects: Objects
    keyring: Keyring
    tasks: OwnTasks
    own_machines: OwnMachines
    tables: Tables
    me: PeerId
    wall_ms: Callable[[], int]
