"""Messages about the secrets of tasks: numbers 130-133."""

from p2p.wire.codec import Message
from swarmnode.tasks.ids import TaskId


class AskSecrets(Message, frozen=True, tag=130):
    """Call from seller to buyer before a start: what an attempt awarded to it may know."""

    task: TaskId
    fence: int
    key: bytes
    """Made for this request (X25519): what comes is sealed for it."""


class SecretsGiven(Message, frozen=True, tag=131):
    """Reply; the body is sealed for that key."""


class ReadSecrets(Message, frozen=True, tag=132):
    """Call from a keeper to who brought it a task: what is kept of the task's secrets."""

    task: TaskId


class SecretsTold(Message, frozen=True, tag=133):
    """Reply; the body is sealed by the task's key."""
