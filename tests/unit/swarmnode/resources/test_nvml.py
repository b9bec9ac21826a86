"""GPUs as NVML tells them, against a library of our own that plays the driver."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from swarmnode.errors import GpuUnknownError
from swarmnode.resources.nvml import NvmlReader

ROOT = Path(__file__).resolve().parents[4]
MIB = 1024 * 1024
SCRIPT = """
import json, msgspec
from swarmnode.errors import GpuUnknownError
from swarmnode.resources.nvml import NvmlReader
reader = NvmlReader()
reader.owns = lambda pid: pid == 4711
gpus = [msgspec.structs.asdict(gpu) for gpu in reader.read()]
files = [reader.device_file(gpu["uuid"]) for gpu in gpus]
try:
    missing = reader.device_file("GPU-99")
except GpuUnknownError as exc:
    missing = str(exc)
print(json.dumps({"gpus": gpus, "files": files, "missing": missing}))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    gcc = shutil.which("gcc") or shutil.which("cc")
    if gcc is None:
        pytest.skip("no C compiler: apt install gcc")
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("nvml_stub.c")
    target = folder / "libnvidia-ml.so.1"
    command = [gcc, "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(target), str(source)]
    subprocess.run(command, check=True)
    return folder


def read(library: Path, **variables: str) -> dict[str, Any]:
    """In a process of its own: a library is loaded once per process."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library), "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_a_gpu_is_described_and_its_device_file_found(library: Path) -> None:
    found = read(library, STUB_GPUS="Stub A:24576:1024:0,Stub B:81920:0:0")
    assert found["gpus"][0] == {
        "uuid": "GPU-0",
        "model": "Stub A",
        "vram_bytes": 24576 * MIB,
        "vram_free_bytes": 23552 * MIB,
        "driver": "570.1",
        "cuda": "12.8",
        "capability": "8.9",
        "index": 0,
        "healthy": True,
        "foreign_processes": 0,
    }
    assert [gpu["model"] for gpu in found["gpus"]] == ["Stub A", "Stub B"]
    assert found["files"] == ["/dev/nvidia3", "/dev/nvidia4"]
    assert found["missing"] == "no GPU GPU-99 on this machine"


def test_a_process_that_is_no_task_of_ours_is_the_owner(library: Path) -> None:
    gpus = read(library, STUB_GPUS="Ours:1024:512:4711,Theirs:1024:512:4712")["gpus"]
    assert [gpu["foreign_processes"] for gpu in gpus] == [0, 1]


def test_what_a_card_does_not_tell_is_unknown_and_no_error(library: Path) -> None:
    (gpu,) = read(library, STUB_GPUS="Virtual:0:0:0")["gpus"]
    assert (gpu["vram_bytes"], gpu["vram_free_bytes"], gpu["healthy"]) == (0, 0, True)


def test_memory_errors_and_slices_keep_a_card_out(library: Path) -> None:
    gpus = read(library, STUB_GPUS="A:1024:0:0:sick,B:1024:0:0:mig,C:1024:0:0")["gpus"]
    assert [gpu["healthy"] for gpu in gpus] == [False, False, True]


def test_a_driver_that_is_not_loaded_means_no_gpus(library: Path) -> None:
    assert read(library, STUB_GPUS="A:1024:0:0", STUB_ERROR="9")["gpus"] == []


def test_a_machine_without_the_library_has_no_gpus() -> None:
    reader = NvmlReader()
    if reader.read():
        pytest.skip("this machine has a GPU")
    with pytest.raises(GpuUnknownError, match="GPU-0"):
        reader.device_file("GPU-0")
