"""This machine, read with psutil and, where there is a driver, NVML."""

import os
from collections.abc import Callable
from pathlib import Path

import psutil
import trio

from swarmnode.resources.container_limits import ContainerLimits, container_limits
from swarmnode.resources.cpu import level_of
from swarmnode.resources.mounts import MEMBERSHIP, MOUNTINFO, read_proc
from swarmnode.resources.nvml import NvmlReader
from swarmnode.resources.port import Gpu, MachineSnapshot


class LocalMachine:
    """The Machine of a node. `folder` lies on the disk whose room counts; `gpus` False hides them.

    What a container's control groups allow counts, not what the host has.
    """

    def __init__(self, folder: Path, *, gpus: bool = True) -> None:
        self._folder = folder
        self._nvml = NvmlReader() if gpus else None
        """None: its GPUs are hidden."""
        self._cpu_level = _cpu_level(Path("/proc/cpuinfo"))
        psutil.cpu_percent()  # the first call only sets the mark from which the next one counts

    def know_ours(self, owns: Callable[[int], bool]) -> None:
        """Say which processes are tasks: others on a GPU mean that its owner uses it."""
        if self._nvml is not None:
            self._nvml.owns = owns

    async def read(self) -> MachineSnapshot:
        """A fresh reading, in a thread: a busy driver may take long to answer."""
        return await trio.to_thread.run_sync(self._read)

    def gpu_device(self, uuid: str) -> str:
        """A GPU's device file. Raises GpuUnknownError."""
        return (self._nvml or NvmlReader()).device_file(uuid)

    def _read(self) -> MachineSnapshot:
        limits = container_limits(read_proc(MOUNTINFO), read_proc(MEMBERSHIP))
        cores = len(os.sched_getaffinity(0)) * 1000
        cpu_millis = min(cores, limits.cpu_millis or cores)
        busy_millis = int(psutil.cpu_percent() * 10 * (psutil.cpu_count() or 1))
        memory_bytes, memory_free_bytes = _memory(limits)
        disk = psutil.disk_usage(str(_existing(self._folder)))
        return MachineSnapshot(
            cpu_millis=cpu_millis,
            cpu_busy_millis=min(busy_millis, cpu_millis),
            memory_bytes=memory_bytes,
            memory_free_bytes=memory_free_bytes,
            disk_bytes=disk.total,
            disk_free_bytes=disk.free,
            gpus=self._gpus(),
            kind=os.uname().machine,
            glibc=_glibc(),
            cpu_level=self._cpu_level,
        )

    def _gpus(self) -> tuple[Gpu, ...]:
        return () if self._nvml is None else self._nvml.read()


def _cpu_level(told: Path) -> int:
    """By the flags of the first processor. Blocking."""
    try:
        lines = told.read_text(errors="replace").splitlines()
    except OSError:
        return 0
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return level_of(flags)


def _glibc() -> str:
    """Of the C library that we run with, which is the one that tasks find in /usr."""
    name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    return version if name == "glibc" else ""


def _memory(limits: ContainerLimits) -> tuple[int, int]:
    """All of it, and what is free or would be at once."""
    host = psutil.virtual_memory()
    if not 0 < limits.memory_bytes < host.total:
        return host.total, host.available
    left = max(0, limits.memory_bytes - limits.memory_used_bytes)
    return limits.memory_bytes, min(host.available, left)


def _existing(folder: Path) -> Path:
    """The folder, or while it is not made yet the nearest one above it."""
    while not folder.exists():
        folder = folder.parent
    return folder
