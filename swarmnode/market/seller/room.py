"""The seller's capacity book: what this machine lends, and to whom it is lent now.

Invariant R1: what is taken never exceeds the capacity, per resource, and a GPU has one taker.
(A capacity that shrinks under running jobs takes nothing away from them; it stops new ones.)
"""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from swarmnode.tasks.records import RoomGrant
from swarmnode.tasks.spec import Shape

MILLION = 1_000_000


class GpuRoom(msgspec.Struct, frozen=True):
    """A GPU that may be lent whole."""

    uuid: str
    model: str
    vram_bytes: int


class Capacity(msgspec.Struct, frozen=True):
    """All that tasks may use of this machine; cpu_millis counts thousandths of a core."""

    cpu_millis: int = 0
    memory_bytes: int = 0
    disk_bytes: int = 0
    gpus: tuple[GpuRoom, ...] = ()


class Fitness(msgspec.Struct, frozen=True):
    """What besides room decides which tasks this machine can run."""

    environments: tuple[str, ...] = ()
    enforced: tuple[str, ...] = ()
    """Limits that it can enforce."""
    trouble: str = ""
    """Why no task can run here; empty when some can."""
    net_trouble: str = ""
    """Why no task can have a network here, with the remedy; empty when some can."""
    machine: str = ""
    """What kind of machine this is, as uname has it."""
    brings: bool = False
    """Environments that were built for the pool can be brought here."""
    data: str = ""
    """How datasets are shown here (swarmnode.executor.port.DataWay)."""
    writes_images: bool = False
    """Tasks can write to their images here."""


def is_plausible(shape: Shape) -> bool:
    """Whether a shape from the wire has the signs that arithmetic on room relies on."""
    gpu, net = shape.gpu, shape.net
    amounts = (shape.memory_bytes, shape.disk_bytes, gpu.count, gpu.vram_bytes)
    rates = (net.up_bytes_per_s, net.down_bytes_per_s)
    return shape.cpu_millis > 0 and min(*amounts, *rates) >= 0


class CapacityBook:
    """Grants by the name of their taker; an entry stays until it is given back."""

    def __init__(self) -> None:
        self.capacity = Capacity()
        """What is lent now: may fall below what is taken, then nothing more is given."""
        self.version = 0
        """Grows with every change."""
        self.has_freed = False
        """Something was given back since this was last set to False."""
        self._grants: dict[str, RoomGrant] = {}
        """By taker: `hold/<bid>` or the name of a job."""

    def set_capacity(self, capacity: Capacity) -> None:
        """Lend so much from now on; what is taken stays taken."""
        if capacity != self.capacity:
            self.capacity = capacity
            self._changed(freed=True)

    def take(self, taker: str, grant: RoomGrant) -> None:
        """Write down a grant. A taker has one grant; a second is a bug."""
        if taker in self._grants:
            raise AssertionError(f"{taker} has room already")
        self._grants[taker] = grant
        self._changed(freed=False)

    def hand_over(self, taker: str, to: str) -> RoomGrant:
        """Let another take over a grant as it is."""
        grant = self._grants.pop(taker)
        self._grants[to] = grant
        self._changed(freed=False)
        return grant

    def give_back(self, taker: str) -> None:
        """The taker no longer uses its room; harmless when it has none."""
        if self._grants.pop(taker, None) is not None:
            self._changed(freed=True)

    def grants(self) -> Mapping[str, RoomGrant]:
        """By taker; to be read only."""
        return self._grants

    def taken(self) -> RoomGrant:
        """The sum of all grants."""
        return _sum(self._grants.values())

    def free(self) -> Capacity:
        """What nobody has; never negative, also after the capacity has shrunk."""
        return _less(self.capacity, self.taken())

    def could_fit(self, shape: Shape) -> bool:
        """Whether the shape fits this machine when it is empty."""
        return _grant(self.capacity, shape) is not None

    def grant_for(self, shape: Shape) -> RoomGrant | None:
        """Room for the shape now, the smallest GPUs that do; None when there is not enough."""
        return _grant(self.free(), shape)

    def would_fit(self, shape: Shape, gone: Iterable[str]) -> bool:
        """Whether the shape fits now or once these takers have gone."""
        without = set(gone)
        left = [grant for taker, grant in self._grants.items() if taker not in without]
        return _grant(_less(self.capacity, _sum(left)), shape) is not None

    def waste_micro(self, grant: RoomGrant) -> int:
        """Millionths of the machine that would be left over and of little use after a grant.

        What is left of one resource is of little use as far as another is used up more: the
        spread between the most and the least plentiful of cores, memory and GPUs.
        """
        left, whole = _less(self.free(), grant), self.capacity
        shares = [
            MILLION * have // all_of_it
            for have, all_of_it in (
                (left.cpu_millis, whole.cpu_millis),
                (left.memory_bytes, whole.memory_bytes),
                (len(left.gpus), len(whole.gpus)),
            )
            if all_of_it > 0
        ]
        return max(shares) - min(shares) if shares else 0

    def _changed(self, *, freed: bool) -> None:
        self.version += 1
        self.has_freed = self.has_freed or freed


def share_of(grant: RoomGrant, whole: Capacity) -> float:
    """The largest part of any resource of the machine that a grant takes."""
    parts = (
        (grant.cpu_millis, whole.cpu_millis),
        (grant.memory_bytes, whole.memory_bytes),
        (len(grant.gpus), len(whole.gpus)),
    )
    return max((have / of for have, of in parts if of > 0), default=0.0)


def _sum(grants: Collection[RoomGrant]) -> RoomGrant:
    return RoomGrant(
        sum(grant.cpu_millis for grant in grants),
        sum(grant.memory_bytes for grant in grants),
        sum(grant.disk_bytes for grant in grants),
        tuple(sorted(uuid for grant in grants for uuid in grant.gpus)),
    )


def _less(room: Capacity, grant: RoomGrant) -> Capacity:
    return Capacity(
        max(0, room.cpu_millis - grant.cpu_millis),
        max(0, room.memory_bytes - grant.memory_bytes),
        max(0, room.disk_bytes - grant.disk_bytes),
        tuple(gpu for gpu in room.gpus if gpu.uuid not in grant.gpus),
    )


def _grant(room: Capacity, shape: Shape) -> RoomGrant | None:
    want = shape.gpu
    usable = sorted(
        (gpu.vram_bytes, gpu.uuid)
        for gpu in room.gpus
        if gpu.vram_bytes >= want.vram_bytes and want.model.casefold() in gpu.model.casefold()
    )
    if (
        room.cpu_millis < shape.cpu_millis
        or room.memory_bytes < shape.memory_bytes
        or room.disk_bytes < shape.disk_bytes
        or len(usable) < want.count
    ):
        return None
    gpus = tuple(uuid for _, uuid in usable[: want.count])
    return RoomGrant(shape.cpu_millis, shape.memory_bytes, shape.disk_bytes, gpus)
