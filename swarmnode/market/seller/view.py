"""What a seller lends of its machine, and how it shows that to others."""

import msgspec

from swarmnode.market.seller.config import SellerConfig
from swarmnode.market.seller.core import Seller
from swarmnode.market.seller.room import Capacity, GpuRoom
from swarmnode.resources.advert import GpuLine, ResourceAdvert
from swarmnode.resources.port import MachineSnapshot
from swarmnode.tasks.records import RoomGrant


class Lent(msgspec.Struct, frozen=True):
    """What the owner lends at most; 0 means all there is."""

    cpu_millis: int = 0
    memory_bytes: int = 0
    disk_bytes: int = 0
    gpus: bool = True


class SellerStats(msgspec.Struct, frozen=True):
    """The seller's side in numbers."""

    capacity: Capacity
    """All that is lent now."""
    free: Capacity
    taken: RoomGrant
    """The sum of all grants, holds included; never more than was lent when they were made."""
    jobs_running: int
    jobs_reporting: int
    holds: int
    waiting: int
    """Buyers that wait for room."""
    lends: bool
    """It runs tasks for others: it may, it can, and its owner does not need it."""
    paused: bool
    trouble: str
    """Why no task can run here, with the remedy; empty when some can."""
    holds_expired: int = 0
    """Since the start: holds nobody took up in time."""
    leases_expired: int = 0
    """Since the start: jobs stopped because their buyer was silent for too long."""


def lent_now(lent: Lent, snapshot: MachineSnapshot, taken: RoomGrant) -> Capacity:
    """Room for tasks: what the owner lends, and never more than is free or a task's already.

    A GPU that its owner uses or that is not healthy is not lent; a task's own stays its own.
    """
    memory_free = snapshot.memory_free_bytes + taken.memory_bytes
    memory_lent = lent.memory_bytes or snapshot.memory_bytes
    disk_free = snapshot.disk_free_bytes + taken.disk_bytes
    gpus = tuple(
        GpuRoom(gpu.uuid, gpu.model, gpu.vram_bytes)
        for gpu in (snapshot.gpus if lent.gpus else ())
        if gpu.uuid in taken.gpus or (gpu.healthy and not gpu.foreign_processes)
    )
    return Capacity(
        min(lent.cpu_millis or snapshot.cpu_millis, snapshot.cpu_millis),
        min(memory_lent, snapshot.memory_bytes, memory_free),
        min(lent.disk_bytes or snapshot.disk_bytes, disk_free),
        gpus,
    )


def stats_of(core: Seller, config: SellerConfig) -> SellerStats:
    """A reading of the seller."""
    running = core.jobs.using_room()
    trouble = core.offers.fitness.trouble
    return SellerStats(
        capacity=core.room.capacity,
        free=core.room.free(),
        taken=core.room.taken(),
        jobs_running=running,
        jobs_reporting=len(core.jobs.records()) - running,
        holds=core.offers.held(),
        waiting=core.offers.waits(),
        lends=config.lends and not core.is_paused and not trouble,
        paused=core.is_paused,
        trouble=trouble,
        holds_expired=core.offers.expired,
        leases_expired=core.jobs.expired,
    )


def advert_of(core: Seller, config: SellerConfig, snapshot: MachineSnapshot) -> ResourceAdvert:
    """What others should know."""
    fitness, capacity, free = core.offers.fitness, core.room.capacity, core.room.free()
    return ResourceAdvert(
        lends=config.lends and not fitness.trouble,
        paused=core.is_paused,
        cpu_millis=capacity.cpu_millis,
        cpu_free_millis=free.cpu_millis,
        memory_bytes=capacity.memory_bytes,
        memory_free_bytes=free.memory_bytes,
        disk_bytes=capacity.disk_bytes,
        disk_free_bytes=free.disk_bytes,
        gpus=_gpu_lines(snapshot, capacity, free),
        environments=fitness.environments,
        enforced=fitness.enforced,
        machine=fitness.machine,
        glibc=snapshot.glibc,
        brings=fitness.brings,
        data=fitness.data,
        tasks_free=max(0, config.tasks_max - core.jobs.using_room() - core.offers.held()),
        net=() if fitness.net_trouble else config.net,
        net_others=() if fitness.net_trouble else config.net_others,
        knows_secrets=True,
        has_secret_place=config.has_secret_place,
        writes_images=fitness.writes_images,
        cpu_level=snapshot.cpu_level,
    )


def _gpu_lines(
    snapshot: MachineSnapshot, capacity: Capacity, free: Capacity
) -> tuple[GpuLine, ...]:
    """Those that are lent, and whether each is free."""
    lent, unused = {gpu.uuid for gpu in capacity.gpus}, {gpu.uuid for gpu in free.gpus}
    return tuple(
        GpuLine(
            gpu.uuid,
            gpu.model,
            gpu.vram_bytes,
            gpu.driver,
            gpu.cuda,
            gpu.capability,
            gpu.uuid in unused,
        )
        for gpu in snapshot.gpus
        if gpu.uuid in lent
    )
