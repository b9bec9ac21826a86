"""NVIDIA GPUs by NVML (https://docs.nvidia.com/deploy/nvml-api/). The only importer of pynvml.

No driver is normal: there are no GPUs then. Any single question may be answered "not supported"
(GeForce cards, virtual GPUs, old drivers): that is unknown, 0 or empty, and not an error. A
library of an old driver may lack whole functions; pynvml says so with the same exception class.
"""

from collections.abc import Callable
from typing import Any, Final

import pynvml

from swarmnode.errors import GpuUnknownError
from swarmnode.resources.port import Gpu

_ABSENT: Final = (
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_NO_PERMISSION,
)


class NvmlReader:
    """Blocking; one thread at a time. `owns` says whether a process is one of our tasks."""

    def __init__(self) -> None:
        self.owns: Callable[[int], bool] = lambda _pid: False
        self._ready = False
        """The library is open; it stays so."""

    def read(self) -> tuple[Gpu, ...]:
        """Every GPU there is; none without a driver."""
        if not self._start():
            return ()
        driver = _text(pynvml.nvmlSystemGetDriverVersion)
        cuda = _cuda_text(_ask(pynvml.nvmlSystemGetCudaDriverVersion_v2) or 0)
        gpus = []
        for index in range(_ask(pynvml.nvmlDeviceGetCount) or 0):
            handle = _ask(pynvml.nvmlDeviceGetHandleByIndex, index)
            if handle is not None:  # a card that fell off the bus
                gpus.append(self._gpu(index, handle, driver, cuda))
        return tuple(gpus)

    def device_file(self, uuid: str) -> str:
        """`/dev/nvidiaN`. Raises GpuUnknownError."""
        handle = _ask(pynvml.nvmlDeviceGetHandleByUUID, uuid) if self._start() else None
        minor = None if handle is None else _ask(pynvml.nvmlDeviceGetMinorNumber, handle)
        if minor is None:
            raise GpuUnknownError(f"no GPU {uuid} on this machine")
        return f"/dev/nvidia{minor}"

    def _start(self) -> bool:
        """Open the library, again each time: a driver may be loaded while the node runs."""
        if self._ready:
            return True
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as exc:
            if exc.value not in _ABSENT:
                raise
            return False
        self._ready = True
        return True

    def _gpu(self, index: int, handle: object, driver: str, cuda: str) -> Gpu:
        memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
        capability = _ask(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
        running = _ask(pynvml.nvmlDeviceGetComputeRunningProcesses, handle) or []
        return Gpu(
            uuid=_text(pynvml.nvmlDeviceGetUUID, handle),
            model=_text(pynvml.nvmlDeviceGetName, handle),
            vram_bytes=0 if memory is None else int(memory.total),
            vram_free_bytes=0 if memory is None else int(memory.free),
            driver=driver,
            cuda=cuda,
            capability="" if capability is None else f"{capability[0]}.{capability[1]}",
            index=index,
            healthy=_is_healthy(handle),
            foreign_processes=sum(not self.owns(int(process.pid)) for process in running),
        )


def _is_healthy(handle: object) -> bool:
    """No memory errors that corrupt results, no repair that waits for a reset, not cut by MIG."""
    errors = _ask(
        pynvml.nvmlDeviceGetTotalEccErrors,
        handle,
        pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
        pynvml.NVML_VOLATILE_ECC,
    )
    rows = _ask(pynvml.nvmlDeviceGetRemappedRows, handle)  # corrected, not, pending, failed
    mig = _ask(pynvml.nvmlDeviceGetMigMode, handle)  # now, after a reset
    return not errors and (rows is None or not (rows[2] or rows[3])) and not (mig and mig[0])


# `Any`: pynvml has no types.
def _ask(question: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401
    """The answer, or None when this card or driver does not know."""
    try:
        return question(*arguments)
    except pynvml.NVMLError:
        return None


def _text(question: Callable[..., Any], *arguments: object) -> str:
    answer = _ask(question, *arguments)
    if isinstance(answer, bytes):
        return answer.decode(errors="replace")
    return answer or ""


def _cuda_text(number: int) -> str:
    """12080 is 12.8."""
    return f"{number // 1000}.{number % 1000 // 10}" if number else ""
