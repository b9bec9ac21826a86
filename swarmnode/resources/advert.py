"""What a machine tells everybody it would lend: the body of a gossip item of kind RESOURCES.

Adverts only rule machines out; how good a machine is for a task is decided by its bid.
"""

from p2p.errors import WireError
from p2p.wire.codec import Record, decode_as


class GpuLine(Record, frozen=True):
    """One GPU that tasks may ask for."""

    uuid: str
    model: str
    vram_bytes: int
    driver: str
    cuda: str
    capability: str
    free: bool
    """Healthy, not granted and not used by its owner."""


class ResourceAdvert(Record, frozen=True):
    """Room of one machine: all of it, and what is not granted now."""

    lends: bool
    """False: it runs nobody's tasks, its owner has switched compute off or it cannot sandbox."""
    paused: bool
    cpu_millis: int
    cpu_free_millis: int
    memory_bytes: int
    memory_free_bytes: int
    disk_bytes: int
    disk_free_bytes: int
    gpus: tuple[GpuLine, ...] = ()
    environments: tuple[str, ...] = ()
    enforced: tuple[str, ...] = ()
    """Limits (swarmnode.executor.port.Limit) that are enforced there."""
    tasks_free: int = 0
    net: tuple[str, ...] = ()
    """What of the network tasks of its own lab may ask for there (swarmnode.reach); an older peer
    says nothing, and has none for tasks."""
    net_others: tuple[str, ...] = ()
    """The same for tasks of other labs."""
    machine: str = ""
    """What kind of machine it is, as uname has it: x86_64, aarch64."""
    brings: bool = False
    """Environments that were built for the pool can be brought there."""
    data: str = ""
    """How datasets are shown there (swarmnode.executor.port.DataWay); empty: an older peer, which
    shows none."""
    knows_secrets: bool = False
    """Its version knows secrets of tasks. An older one runs, and hands on, a task without them."""
    has_secret_place: bool = False
    """Tasks have a place of their own for them there: not in the mode `container`."""
    glibc: str = ""
    """Version of its C library, such as 2.36; an older peer says nothing, one with another has
    none."""
    writes_images: bool = False
    """Tasks can write to their images there; an older peer, which does not say, may only show
    them."""
    cpu_level: int = 0
    """Of x86-64, which its processor has, 1 to 4; 0: another kind, or an older peer."""


def read_advert(body: bytes) -> ResourceAdvert | None:
    """What a member gossips; None for what is of another version, or nonsense."""
    try:
        return decode_as(ResourceAdvert, body)
    except WireError:
        return None
