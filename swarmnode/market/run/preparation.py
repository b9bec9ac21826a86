"""All that a job needs before its start: inputs and checkpoint, its data, its secrets."""

from collections.abc import Callable

from p2p.host.rpc.service import Rpc
from swarmnode.executor.port import DataMount, Executor, JobSecrets
from swarmnode.market.run.net import JobNet
from swarmnode.market.run.secrets import SecretErrand
from swarmnode.market.run.staging import JobData, Restorer, shown_data, stage
from swarmnode.tasks.records import JobRecord


class Preparation:
    """Of one attempt; it may be done again."""

    def __init__(
        self,
        rpc: Rpc,
        executor: Executor,
        data: JobData,
        memory: Restorer,
        net: JobNet,
        now: Callable[[], JobRecord],
    ) -> None:
        """`now`: the job with whoever acts for its task by now."""
        self._executor, self._data, self._memory, self._net = executor, data, memory, net
        self._now = now
        self._errand = SecretErrand(rpc, now)
        self._secrets: JobSecrets | None = None
        """From `bring` to the start."""
        self._shown: tuple[DataMount, ...] = ()
        """What it sees of datasets besides its work folder."""

    async def bring(self, *, is_staged: bool) -> None:
        """Have it all here; `is_staged`: its work folder is made already. Raises JobOverError."""
        if not is_staged:
            await stage(self._executor, self._data, self._memory, self._net, self._now())
        self._shown = await shown_data(self._executor, self._data, self._now())
        self._secrets = await self._errand.fetch()

    def take(self) -> tuple[JobSecrets | None, tuple[DataMount, ...]]:
        """What the start is given besides the record; the secrets are here no more."""
        secrets, self._secrets = self._secrets, None
        return secrets, self._shown
