"""Datasets as the Executor's face has them: how they are shown, who answers, what is kept; how
images are shown."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from swarmnode.executor.disk.given import GivenRoom, Shrink
from swarmnode.executor.job import ExecutorJob
from swarmnode.executor.port import DataWay, JobId
from swarmnode.executor.sandbox.capability import Capability


class DatasetFace(ABC):
    """The part of an Executor that has to do with datasets and images."""

    def __init__(self, given: GivenRoom) -> None:
        self._given = given
        self._jobs: dict[JobId, ExecutorJob] = {}
        """Started, by this node or one before, and not forgotten; ended ones, too."""

    @property
    @abstractmethod
    def _capability(self) -> Capability:
        """What was found out of this machine."""

    @abstractmethod
    def _known(self, job: JobId) -> ExecutorJob:
        """Raises JobUnknownError."""

    def data_way(self) -> tuple[DataWay, str]:
        """How datasets are shown here, and why not in a better way."""
        return self._capability.data_way, self._capability.data_trouble

    def image_trouble(self) -> str:
        """ "" when a task can write to its image here, else why not and the remedy."""
        return self._capability.image_trouble

    def share_disk(self, kept: Callable[[], int], shrink: Shrink) -> None:
        """What is kept of datasets takes what is lent for inputs, as far as those need it not."""
        self._given.share(kept, shrink)

    def room_for_data(self) -> int:
        """Bytes that may be kept of datasets, those included that are."""
        return self._given.left_to_keep()

    def sources_in_use(self) -> frozenset[str]:
        """Paths from which jobs that run have datasets."""
        running = (job.record.spec for job in self._jobs.values() if job.exit is None)
        return frozenset(one.source for spec in running for one in spec.data if one.source)

    def note(self, job: JobId, words: str) -> None:
        """By its shim; where none is any more nobody reads it either."""
        self._known(job).folder.order_note(words)
