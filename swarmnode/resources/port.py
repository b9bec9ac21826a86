"""What this machine has, as seen by the node. Bodies: `local` (psutil, NVML) and `fake`."""

from typing import Protocol

import msgspec


class Gpu(msgspec.Struct, frozen=True):
    """One GPU. Fields a driver does not tell are 0 or empty."""

    uuid: str
    model: str
    vram_bytes: int
    vram_free_bytes: int
    driver: str
    cuda: str
    capability: str
    """Compute capability, such as `8.9`."""
    index: int
    healthy: bool
    foreign_processes: int
    """Compute processes on it that are not our tasks: its owner is using it."""


class MachineSnapshot(msgspec.Struct, frozen=True):
    """One reading of the machine. cpu_millis counts thousandths of a core."""

    cpu_millis: int
    cpu_busy_millis: int
    memory_bytes: int
    memory_free_bytes: int
    disk_bytes: int
    disk_free_bytes: int
    gpus: tuple[Gpu, ...]
    kind: str = "x86_64"
    """As uname has it."""
    glibc: str = ""
    """Version of its C library, such as 2.36; empty where that is another one."""
    cpu_level: int = 0
    """Of x86-64, which its processor has, 1 to 4; 0 for another kind."""


class Machine(Protocol):
    """Reads the machine; never changes it."""

    async def read(self) -> MachineSnapshot:
        """A fresh reading; GPUs are an empty tuple where there is no driver (that is normal)."""
        ...
