"""A task's own key: its id is made from it, and it signs who may act for the task.

The submitter makes the key and keeps its seed with the task; guardians are given it. A provider
is given a grant that the key signed (storage.facade.NameStore.attempt), for its machine and fence
only, and the key by which `ctx.state` is encrypted, but never the task's key itself.
"""

from base64 import b32encode
from typing import Final

from blake3 import blake3

from p2p.ids import PeerId
from swarmnode.tasks.ids import TaskId

STATE_KEY_BYTES: Final = 32
_ID_BYTES: Final = 10


def task_id_of(key: PeerId) -> TaskId:
    """The id of the task whose key has this id: nobody else can sign for it."""
    digest = blake3(key.encode(), derive_key_context="swarm task id 1").digest(_ID_BYTES)
    return TaskId(b32encode(digest).decode().lower())


def state_key_of(seed: bytes) -> bytes:
    """What encrypts the task's state: for the parties of the task."""
    return blake3(seed, derive_key_context="swarm task state key 1").digest(STATE_KEY_BYTES)
