"""What the nine steps need of the swarm they observe: processes on loopback, or containers."""

from collections.abc import Sequence
from typing import Protocol

from swarmnode.cli.client import Client


class StageNode(Protocol):
    """One node, seen from outside."""

    @property
    def name(self) -> str: ...

    @property
    def peer(self) -> str: ...

    @property
    def pid(self) -> int: ...

    @property
    def client(self) -> Client: ...


class Stage(Protocol):
    """All nodes, and what may be done to them."""

    @property
    def nodes(self) -> Sequence[StageNode]: ...

    def alive(self) -> Sequence[StageNode]:
        """Nodes that were not killed."""
        ...

    def node_of(self, peer: str) -> StageNode:
        """The node with that peer id."""
        ...

    def name_of(self, peer: str) -> str:
        """Its name, for people."""
        ...

    def kill_machine(self, node: StageNode) -> None:
        """End it with everything that runs on it, as a power cut would."""

    def stop(self) -> None:
        """Ask everybody to end and wait. Raises StepFailedError when somebody does not."""

    def leftovers(self) -> Sequence[str]:
        """Whatever should be gone after `stop` and is not."""
        ...
