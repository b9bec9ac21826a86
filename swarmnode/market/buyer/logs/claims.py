"""Logs of tasks that ended while another machine had them: claimed from who ran them.

The provider answers a claim by its State, and brings log and result again when it still has them.
"""

from typing import Final

import msgspec

from p2p.effects import Send
from p2p.ids import PeerId
from swarmnode.market.buyer import events as e
from swarmnode.market.guardians.messages import Claim
from swarmnode.tasks.ids import TaskId

CLAIM_AGAIN_S: Final = 5.0
"""A provider may be restarting, or out of reach for a moment."""
CLAIM_TRIES_MAX: Final = 60
"""Five minutes: it keeps what nobody asks for twice as long."""
CLAIMS_AT_ONCE: Final = 64
"""Claims said in one step: each is a message."""


class _Wanted(msgspec.Struct):
    provider: PeerId
    claim: Claim
    due_s: float
    """When it is said next."""
    tries: int = 0
    """How often it was said; after CLAIM_TRIES_MAX it is given up."""


class LogClaims:
    """Of one buyer's tasks. `tick` is called every second."""

    def __init__(self) -> None:
        self._wanted: dict[TaskId, _Wanted] = {}
        """Claims that nobody has answered, the one wanted first is first."""

    def want(self, task: TaskId, provider: PeerId, claim: Claim, now_s: float) -> None:
        """From now on, until it answers."""
        self._wanted[task] = _Wanted(provider, claim, now_s)

    def is_asked(self, task: TaskId, provider: PeerId) -> bool:
        """It has not answered yet."""
        wanted = self._wanted.get(task)
        return wanted is not None and wanted.provider == provider

    def answered(self, task: TaskId, provider: PeerId) -> None:
        """It has said how the job stands there."""
        if self.is_asked(task, provider):
            del self._wanted[task]

    def tick(self, now_s: float) -> list[e.Effect]:
        """Claims that are due."""
        effects: list[e.Effect] = []
        due = [(task, wanted) for task, wanted in self._wanted.items() if wanted.due_s <= now_s]
        for task, wanted in due[:CLAIMS_AT_ONCE]:
            wanted.due_s, wanted.tries = now_s + CLAIM_AGAIN_S, wanted.tries + 1
            effects.append(Send(wanted.provider, wanted.claim))
            if wanted.tries >= CLAIM_TRIES_MAX:
                del self._wanted[task]
        return effects
