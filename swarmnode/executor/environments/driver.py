"""What a task with GPUs sees of this machine's NVIDIA driver, in an environment or image.

A program finds the driver by the names of its libraries; they must be those of the driver that the
kernel has loaded, and of no other that an update has left. Each file is shown under its own name in
a folder of its own, with links for all names it goes by.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

LIBRARIES: Final = "/run/driver/lib"
PROGRAMS: Final = "/run/driver/bin"
"""In the sandbox, where neither an environment nor an image has anything."""
_VERSION_FILE: Final = "proc/driver/nvidia/version"
_VERSION: Final = re.compile(r"\s(\d{3,}(?:\.\d+)+)\s")
_FOLDERS: Final = (
    "usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64", "usr/lib",
    "usr/lib/x86_64-linux-gnu/nvidia/current", "usr/lib/aarch64-linux-gnu/nvidia/current",
    "usr/lib64/nvidia", "usr/lib/nvidia", "run/opengl-driver/lib",
)  # fmt: skip
"""Of Debian, Fedora, Arch, NixOS and their kin, below the machine's root."""
_KNOWN: Final = frozenset((
    "libcuda", "libcudadebugger", "libnvidia-ml", "libnvidia-cfg", "libnvidia-nscq",
    "libnvidia-ptxjitcompiler", "libnvidia-nvvm", "libnvidia-gpucomp", "libnvidia-allocator",
    "libnvidia-fatbinaryloader", "libnvidia-opencl", "libnvidia-compiler", "libnvidia-pkcs11",
    "libnvidia-pkcs11-openssl3", "libnvidia-tileiras",
))  # fmt: skip
"""For computing, as NVIDIA's own container tools have them; nothing that draws."""
_TOOLS: Final = ("nvidia-smi", "nvidia-debugdump", "nvidia-cuda-mps-control")
_ELF_64: Final = b"\x7fELF\x02"


class HostName(msgspec.Struct, frozen=True):
    """A name in a folder of libraries of this machine."""

    name: str
    real: Path
    """The file that it is in the end."""


class DriverPlan(msgspec.Struct, frozen=True):
    """What to show."""

    libraries: tuple[tuple[Path, tuple[str, ...]], ...] = ()
    """Each file, and its other names."""
    programs: tuple[Path, ...] = ()

    def options(self, sources: Callable[[Path], str]) -> tuple[str, ...]:
        """bubblewrap's."""
        options: list[str] = []
        for file, names in self.libraries:
            options += ["--ro-bind", sources(file), f"{LIBRARIES}/{file.name}"]
            for name in names:
                options += ["--symlink", file.name, f"{LIBRARIES}/{name}"]
        for program in self.programs:
            options += ["--ro-bind", sources(program), f"{PROGRAMS}/{program.name}"]
        return tuple(options)


def planned(version: str, names: Iterable[HostName], programs: Iterable[Path]) -> DriverPlan:
    """Libraries of that version of the driver alone. Pure."""
    files: dict[str, tuple[Path, set[str]]] = {}
    for one in names:
        what, end = one.real.name, f".so.{version}"
        if not what.endswith(end) or what.removesuffix(end) not in _KNOWN:
            continue
        real, others = files.setdefault(what, (one.real, set()))
        if (
            real == one.real
        ):  # another of the same name, of a folder that comes later, does not count
            others.add(one.name)
    return DriverPlan(
        tuple(
            (real, _links(what, others, version)) for what, (real, others) in sorted(files.items())
        ),
        tuple(programs),
    )


def _links(what: str, others: set[str], version: str) -> tuple[str, ...]:
    """Names by which programs ask: `.so.1` where nothing says another, libcuda without a number."""
    links = others - {what}
    if not any(name.rpartition(".so.")[2].isdigit() for name in links):
        links.add(f"{what.removesuffix(version)}1")
    if what.startswith("libcuda.so."):
        links.add("libcuda.so")
    return tuple(sorted(links))


def driver_of(root: Path) -> DriverPlan:
    """The driver that is loaded on the machine with that root; nothing without one. Blocking."""
    try:
        told = _VERSION.search((root / _VERSION_FILE).read_text(errors="replace"))
    except OSError:
        return DriverPlan()
    if told is None:
        return DriverPlan()
    programs = (root / "usr/bin" / name for name in _TOOLS)
    return planned(told[1], _names_in(root), [path for path in programs if path.is_file()])


def _names_in(root: Path) -> Iterator[HostName]:
    for folder in _FOLDERS:
        try:
            found = sorted(os.listdir(root / folder))
        except OSError:
            continue
        for name in found:
            if name.partition(".so")[0] in _KNOWN and _is_for_us(root / folder / name):
                yield HostName(name, Path(os.path.realpath(root / folder / name)))


def _is_for_us(path: Path) -> bool:
    """A library of 64 bits: some folders hold those of 32."""
    try:
        with open(path, "rb") as file:
            return file.read(len(_ELF_64)) == _ELF_64
    except OSError:
        return False
