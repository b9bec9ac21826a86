"""Datasets as mounts show them, each once however many jobs see it, and their names bounded."""

from typing import Final
from weakref import WeakValueDictionary

import msgspec
import trio

from storage.facade import ReadCap
from swarmnode.datasets.content import Say
from swarmnode.datasets.contents import Contents, Dataset, key_of
from swarmnode.datasets.limits import DATA_NAMES_MAX
from swarmnode.errors import DataFailedError

_STARTS_S: Final = 600.0
"""A job that was promised datasets runs within this."""


class _Promise(msgspec.Struct, frozen=True):
    datasets: tuple[Dataset, ...]
    at_s: float


class ShownDatasets:
    """What jobs see, or are about to."""

    def __init__(self, contents: Contents, names_max: int = DATA_NAMES_MAX) -> None:
        self._contents, self._names_max = contents, names_max
        self._laid: WeakValueDictionary[str, Dataset] = WeakValueDictionary()
        """By key; as long as a mount shows it, or a job was promised it."""
        self._promises: dict[str, _Promise] = {}
        """By job."""

    async def laid(self, cap: ReadCap, say: Say) -> Dataset:
        """One of them. Raises ContentFailedError, having said why."""
        key = key_of(cap)
        if (known := self._laid.get(key)) is not None:
            await trio.lowlevel.checkpoint()
            return known
        dataset = await self._contents.laid(cap, say)
        return self._laid.setdefault(key, dataset)

    def promise(self, job: str, datasets: tuple[Dataset, ...]) -> None:
        """They are in memory when the job starts. Raises DataFailedError: they are too many."""
        lately_s = trio.current_time() - _STARTS_S
        self._promises = {
            of: promise for of, promise in self._promises.items() if promise.at_s > lately_s
        }
        wanted = sum(len(one.laid.inodes) for one in {id(one): one for one in datasets}.values())
        names = sum(len(one.laid.inodes) for one in self._laid.values())
        if names > self._names_max:
            raise DataFailedError(
                f"its datasets have {wanted} names, those of other tasks here "
                f"{names - wanted}: this machine shows {self._names_max} at a time"
            )
        self._promises[job] = _Promise(datasets, trio.current_time())

    def forget(self, job: str) -> None:
        """It sees nothing any more."""
        self._promises.pop(job, None)
