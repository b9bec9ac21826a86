"""A machine in memory: it has what the test says, until the test says otherwise."""

import trio
from msgspec.structs import replace

from swarmnode.resources.port import Gpu, MachineSnapshot

MIB = 1024 * 1024
GIB = 1024 * MIB


def fake_gpu(index: int = 0, *, vram_bytes: int = 24 * GIB, model: str = "Fake 24G") -> Gpu:
    """A healthy, idle GPU."""
    return Gpu(
        uuid=f"GPU-{index:012}",
        model=model,
        vram_bytes=vram_bytes,
        vram_free_bytes=vram_bytes,
        driver="570.1",
        cuda="12.8",
        capability="8.9",
        index=index,
        healthy=True,
        foreign_processes=0,
    )


class FakeMachine:
    """The Machine of simulations."""

    def __init__(
        self,
        *,
        cpu_millis: int = 4000,
        memory_bytes: int = 8 * GIB,
        disk_bytes: int = 100 * GIB,
        gpus: tuple[Gpu, ...] = (),
    ) -> None:
        self.snapshot = MachineSnapshot(
            cpu_millis, 0, memory_bytes, memory_bytes, disk_bytes, disk_bytes, gpus
        )
        """What the next reading says; replace it to let something happen."""

    async def read(self) -> MachineSnapshot:
        """The snapshot as it is."""
        await trio.lowlevel.checkpoint()
        return self.snapshot

    def owner_takes_gpu(self, uuid: str) -> None:
        """A process that is no task of ours begins to use the GPU."""
        gpus = tuple(
            replace(gpu, foreign_processes=1) if gpu.uuid == uuid else gpu
            for gpu in self.snapshot.gpus
        )
        self.snapshot = replace(self.snapshot, gpus=gpus)
