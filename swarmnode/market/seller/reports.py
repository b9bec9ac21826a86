"""Results on their way: the log first, then the result, again and again until its receipt.

ended -> log delivered -> result said -> said again ... -> receipt, or nobody asked for it
              ^------- another machine acts for the task: log and result once more
"""

from collections.abc import Sequence

from p2p.effects import Notify, WakeAt
from p2p.ids import PeerId
from swarmnode.market.seller import events as e
from swarmnode.market.seller.config import SellerConfig
from swarmnode.market.seller.job import SellerJob
from swarmnode.tasks.lifecycle import JobState


class Reports:
    """What is done about jobs that have ended. Methods return effects to be performed in order."""

    def __init__(self, config: SellerConfig) -> None:
        self._config = config

    def keep(self, job: SellerJob, now_s: float) -> e.Effect:
        """Somebody may want the result from now on; twice as long at most, whoever claims it."""
        keep_s = self._config.result_keep_s
        job.keep_last_s = job.keep_last_s or now_s + 2 * keep_s
        job.keep_until_s = min(now_s + keep_s, job.keep_last_s)
        return WakeAt(job.keep_until_s, e.PatienceOver(job.record.task, job.record.fence))

    def turned(self, job: SellerJob, now_s: float) -> list[e.Effect]:
        """Another machine acts for the task: it may have neither log nor result."""
        if job.record.state is not JobState.REPORTING:
            return []
        effects = [self.keep(job, now_s)]
        if job.logs_delivered:
            job.logs_delivered = False
            effects.append(Notify(e.StartJob(job.record)))
        return effects

    def delivered(
        self, job: SellerJob, buyer: PeerId, before: Sequence[e.Effect], now_s: float
    ) -> list[e.Effect]:
        """That machine has the log. `before`: what has to be said before the result."""
        if buyer != job.record.buyer:
            return [Notify(e.StartJob(job.record))]
        was_said, job.logs_delivered = job.result_again_s > 0, True
        job.result_again_s = self._config.result_again_s
        said = [*before, Notify(e.SendResult(job.record))]
        # Said before to another buyer: the timer for the next time runs.
        return said if was_said else [*said, self._again(job, now_s)]

    def repeat(self, job: SellerJob, before: Sequence[e.Effect], now_s: float) -> list[e.Effect]:
        """No receipt yet: the result once more, less and less often."""
        job.result_again_s = min(job.result_again_s * 2, self._config.result_again_max_s)
        said = [*before, Notify(e.SendResult(job.record))] if job.logs_delivered else []
        return [*said, self._again(job, now_s)]

    def _again(self, job: SellerJob, now_s: float) -> e.Effect:
        due = e.ResultDue(job.record.task, job.record.fence)
        return WakeAt(now_s + job.result_again_s, due)
