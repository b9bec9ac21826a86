"""The machine's GPU driver in environments and images: the loaded version, found as programs ask.

There is no GPU here: the libraries are stubs that say which they are.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from swarmnode.executor.environments import building, catalogue
from swarmnode.executor.environments.driver import DriverPlan, HostName, driver_of, planned
from swarmnode.tasks.environments.naming import image_lock
from swarmnode.tree.pack import packed
from swarmnode.tree.scan import entries_of, scan
from tests.image_lab import layer, programs, saved
from tests.job_lab import needs_bwrap, run_job, running_executor, spec
from tests.unit.swarmnode.executor.test_environments_built import once

VERSION = "570.86.15"
RECIPE = Path(building.__file__).parent / "recipe/image.py"
needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="cc is missing: apt install gcc")
ASKS = """
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    const char *names[] = {"libcuda.so.1", "libnvidia-ml.so.1", "libcuda.so", "libGLX_nvidia.so.0"};
    for (int at = 0; at < 4; at++) {
        void *found = dlopen(names[at], RTLD_NOW);
        const char *(*say)(void) = found ? (const char *(*)(void))dlsym(found, "stub") : 0;
        puts(say ? say() : "none");
    }
}
"""


def test_only_files_of_the_loaded_driver_are_planned_under_all_their_names() -> None:
    there = [
        ("libcuda.so.1", f"/a/libcuda.so.{VERSION}"),
        (f"libcuda.so.{VERSION}", f"/a/libcuda.so.{VERSION}"),
        ("libcuda.so.550.54", "/a/libcuda.so.550.54"),
        ("libnvidia-ml.so.1", "/a/libnvidia-ml.so.550.54"),
        (f"libnvidia-ml.so.{VERSION}", f"/a/libnvidia-ml.so.{VERSION}"),
        ("libnvidia-nvvm.so.4", f"/a/libnvidia-nvvm.so.{VERSION}"),
        (f"libcudadebugger.so.{VERSION}", f"/a/libcudadebugger.so.{VERSION}"),
        (f"libGLX_nvidia.so.{VERSION}", f"/a/libGLX_nvidia.so.{VERSION}"),
        (f"libcuda.so.{VERSION}", f"/of-a-later-folder/libcuda.so.{VERSION}"),
    ]
    plan = planned(VERSION, [HostName(name, Path(real)) for name, real in there], ())
    assert {str(file): names for file, names in plan.libraries} == {
        f"/a/libcuda.so.{VERSION}": ("libcuda.so", "libcuda.so.1"),
        f"/a/libcudadebugger.so.{VERSION}": ("libcudadebugger.so.1",),
        f"/a/libnvidia-ml.so.{VERSION}": ("libnvidia-ml.so.1",),
        f"/a/libnvidia-nvvm.so.{VERSION}": ("libnvidia-nvvm.so.4",),
    }


def test_a_machine_without_a_driver_has_nothing_to_show(tmp_path: Path) -> None:
    assert driver_of(tmp_path) == DriverPlan()
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_text("no version\n")
    assert driver_of(tmp_path).options(str) == ()


def _compiled(source: str, *words: str) -> None:
    subprocess.run(["cc", "-x", "c", "-", *words], input=source, text=True, check=True)


def _host(root: Path) -> Path:
    """A machine with the stubs of two drivers, the older one's links left behind."""
    libraries = root / "usr/lib/x86_64-linux-gnu"
    for folder in (libraries, root / "usr/bin", root / "proc/driver/nvidia"):
        folder.mkdir(parents=True)
    (root / "proc/driver/nvidia/version").write_text(
        f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {VERSION}  Release Build\n"
    )
    (root / "usr/bin/nvidia-smi").write_text("#!/bin/sh\necho the tool\n")
    (root / "usr/bin/nvidia-smi").chmod(0o755)
    for version in (VERSION, "550.54"):
        for name in ("cuda", "nvidia-ml", "GLX_nvidia"):
            file = libraries / f"lib{name}.so.{version}"
            source = f'const char *stub(void) {{ return "{name} {version}"; }}'
            _compiled(source, "-shared", "-fPIC", f"-Wl,-soname,lib{name}.so.1", "-o", str(file))
            (libraries / f"lib{name}.so.1").unlink(missing_ok=True)
            (libraries / f"lib{name}.so.1").symlink_to(file.name)
    return root


def _image(folder: Path, program: Path) -> Path:
    folder.mkdir()
    digest = saved(folder / ".image", [layer(*programs("sh", str(program)))])
    (folder / ".lock").write_text(image_lock(digest))
    subprocess.run([sys.executable, "-I", "-B", str(RECIPE), str(folder)], check=True)
    return folder


def _carried(folder: Path, program: Path) -> Path:
    """As a build of packages leaves it, the interpreter aside."""
    for place in ("py/lib", "base/bin", "venv/bin"):
        (folder / place).mkdir(parents=True)
    for item in programs("sh", str(program)):
        if item.data:
            place = "base/bin" if item.name.startswith("usr/bin/") else "py/lib"
            (folder / place / Path(item.name).name).write_bytes(item.data)
            (folder / place / Path(item.name).name).chmod(0o755)
    return folder


@needs_bwrap
@needs_cc
@pytest.mark.parametrize("make", [_image, _carried])
async def test_a_task_with_gpus_finds_the_driver_and_others_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path, Path], Path]
) -> None:
    program = tmp_path / "asks"
    _compiled(ASKS, "-o", str(program))
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o011)
    monkeypatch.setattr(catalogue, "_HOST", _host(tmp_path / "host"))
    monkeypatch.setattr(catalogue, "_LIBC_FOLDERS", ())
    folder = str(make(tmp_path / "made", program))
    found = scan(folder).found
    data = b"".join(packed(folder, found, entries_of(found, ())))
    async with running_executor(tmp_path / "x", gpu_device=lambda _: "/dev/null") as executor:
        await executor.bringing.bring("@made", blake3(data).digest(), once(data))
        for gpus, told in (
            (("GPU-1",), f"cuda {VERSION}\nnvidia-ml {VERSION}\ncuda {VERSION}\nnone\nthe tool\n"),
            ((), "none\nnone\nnone\nnone\nno tool\n"),
        ):
            script = "asks; nvidia-smi 2>/dev/null || echo no tool"
            what = spec(f"g.{len(gpus)}", "sh", "-c", script, environment="@made", gpus=gpus)
            ended, out, err = await run_job(executor, what)
            assert (ended.code, out) == (0, told), err
