"""The secrets of a job: asked of whoever acts for its task, before each start; memory alone."""

from collections.abc import Callable
from typing import Final

import trio

from p2p.errors import CallTimeoutError, PeerUnreachableError, RemoteRefusalError
from p2p.host.rpc.service import Rpc
from p2p.ids import TrafficClass
from swarmnode.errors import SecretSealedError
from swarmnode.executor.port import JobSecrets
from swarmnode.market.run.staging import over
from swarmnode.market.secrets.desk import PURPOSE
from swarmnode.market.secrets.messages import AskSecrets, SecretsGiven
from swarmnode.tasks.records import JobRecord
from swarmnode.tasks.secrets.box import OneTimeKey, Secrets
from swarmnode.tasks.secrets.wants import files_of, variables_of

REASON: Final = "secrets"
ASK_TIMEOUT_S: Final = 10.0
ASKED_FOR_S: Final = 60.0
"""As long as a guardian may need to take over, four times; then another machine should try."""
AGAIN_S: Final = 0.5
_PASSING: Final = ("busy",)


class SecretErrand:
    """Of one job."""

    def __init__(self, rpc: Rpc, now: Callable[[], JobRecord]) -> None:
        """`now`: the job with whoever acts for its task by now."""
        self._rpc, self._now = rpc, now

    async def fetch(self) -> JobSecrets | None:
        """What the job is to have; None where it wants none. Raises JobOverError."""
        wants = self._now().spec.secrets
        if not wants:
            return None
        values = (await self._asked()).values()
        if missing := [name for name, _ in wants if name not in values]:
            raise over("unfit", REASON, f"its submitter gave no secret {missing[0]!r}")
        try:
            return JobSecrets(
                {variable: values[name] for variable, name in variables_of(wants).items()},
                {file: values[name] for file, name in files_of(wants).items()},
            )
        except ValueError as exc:
            raise over("unfit", REASON, str(exc)) from exc

    async def _asked(self) -> Secrets:
        with trio.move_on_after(ASKED_FOR_S):
            while True:
                try:
                    return await self._ask(self._now())
                except (PeerUnreachableError, CallTimeoutError):
                    pass  # it may be back soon, or another acts
                except RemoteRefusalError as refusal:
                    if refusal.code not in _PASSING:
                        raise over("unfit", REASON, refusal.detail) from refusal
                await trio.sleep(AGAIN_S)
        raise over("unfit", REASON, "nobody who acts for the task gave its secrets in time")

    async def _ask(self, record: JobRecord) -> Secrets:
        key = OneTimeKey()
        _, sealed = await self._rpc.call(
            record.buyer,
            AskSecrets(record.task, record.fence, key.public),
            SecretsGiven,
            traffic_class=TrafficClass.NORMAL,
            timeout_s=ASK_TIMEOUT_S,
        )
        try:
            return key.open(PURPOSE.format(task=record.task, fence=record.fence), sealed)
        except SecretSealedError as exc:
            raise over("unfit", REASON, str(exc)) from exc
