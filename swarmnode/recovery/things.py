"""What is saved in the pool and brought back from there, as one argument."""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from p2p.ids import PeerId
from storage.engine.port import Tables
from storage.facade import Objects
from storage.objects.keyring import Keyring
from swarmnode.edges import Vault
from swarmnode.market.explain import TaskEvent
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import TaskRecord


class OwnTasks(Protocol):
    """The part of MarketService that is needed here."""

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

    async def gone_on(self, taken_ms: int) -> Sequence[TaskRecord]:
        """What of ours goes on elsewhere since this machine was taken over then, and where."""
        ...

    async def let_go(self, task: TaskId, by: PeerId) -> None:
        """A task that goes on at that machine is not ours any more."""
        ...

    async def take_up(
        self, records: Sequence[TaskRecord], sure_ms: int = 0, *, is_told: bool = False
    ) -> None:
        """Go on with tasks that another machine of ours had submitted.

        `is_told`: by their guardians; else a copy knew of them, and their logs until `sure_ms`.
        """
        ...

    async def kept_for(self, machine: PeerId, taken_ms: int) -> Sequence[TaskRecord]:
        """What a machine of ours was submitted before it knew of that takeover, by guardians."""
        ...


@dataclass(frozen=True, slots=True)
class Things:
    """Of one machine of a person."""

    vault: Vault
    objects: Objects
    keyring: Keyring
    market: OwnTasks
    tables: Tables
    me: PeerId
    wall_ms: Callable[[], int]
