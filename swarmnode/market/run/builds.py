"""What a build of an environment leaves besides its folder: the record that this machine signs."""

from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec

from p2p.wire.envelope import Signed
from storage.facade import Objects
from storage.manifests.capability import parse_cap
from swarmnode.errors import OutputUnsafeError
from swarmnode.executor.port import Executor, JobId
from swarmnode.resources.cpu import LEVEL_MAX
from swarmnode.tasks.checkpoint import StoredFile
from swarmnode.tasks.environments.libc import version_in
from swarmnode.tasks.environments.naming import (
    ALLOW_BUILD,
    BUILD,
    LOCK,
    TREE,
    is_image_lock,
    key_of,
)
from swarmnode.tasks.environments.recipe import build_fault
from swarmnode.tasks.environments.records import BuiltEnvironment, EnvironmentRecord
from swarmnode.tasks.records import JobRecord

Certify = Callable[[EnvironmentRecord], Signed]
"""Signs a record as this machine."""
_ABOUT: Final = f"{TREE}/about.json"
_ABOUT_BYTES_MAX: Final = 1 << 20
"""It names the packages; a thousand of them take 30 KB."""
_LOCK_BYTES_MAX: Final = 16 << 20
"""Ten thousand packages with a hundred files each."""


class _BuildReport(msgspec.Struct, frozen=True):
    """What the build says of itself; it ran hostile code perhaps, so nothing rests on it."""

    python: str
    machine: str
    glibc: str
    uv: str
    packages: tuple[str, ...]
    needs_glibc: str = ""
    """Of the machine: it brings none itself."""
    needs_cpu: int = 0
    """The level of x86-64 that its programs say they need."""


async def record_of(
    executor: Executor, objects: Objects, record: JobRecord, tree: StoredFile, digest: bytes
) -> EnvironmentRecord:
    """Of the folder that is stored. Raises OutputUnsafeError."""
    check_build(record)
    spec = record.spec
    lock_cap = dict(spec.inputs)[LOCK]
    lock = await _whole(objects.get(parse_cap(lock_cap)), _LOCK_BYTES_MAX, "the lock")
    told = executor.read_file(JobId(record.job), _ABOUT)
    try:
        about = msgspec.json.decode(await _whole(told, _ABOUT_BYTES_MAX, _ABOUT), type=_BuildReport)
    except msgspec.MsgspecError as exc:
        raise OutputUnsafeError(f"{_ABOUT} is not as a build writes it: {exc}") from exc
    python, builds = spec.env.removeprefix(BUILD), ALLOW_BUILD in spec.run
    return EnvironmentRecord(
        key=key_of(lock, python, about.machine, allow_build=builds),
        built=BuiltEnvironment(
            tree.cap,
            digest,
            tree.size,
            about.machine,
            version_in(about.needs_glibc),
            is_image_lock(lock),
            min(max(about.needs_cpu, 0), LEVEL_MAX),
        ),
        python=about.python[:32],
        glibc=about.glibc[:16],
        uv=about.uv[:32],
        packages=len(about.packages),
    )


def check_build(record: JobRecord) -> None:
    """The recipe has made the folder of that lock, and nothing else had a part in it.

    Whoever submits it says what it runs, and its lab believes what is signed here: a program, a
    file, or a variable of theirs would be in the tasks of all who have that lock. Raises
    OutputUnsafeError.
    """
    if fault := build_fault(record.spec, is_restored=record.restore is not None):
        raise OutputUnsafeError(fault)


async def _whole(pieces: AsyncIterator[bytes], bytes_max: int, what: str) -> bytes:
    held = bytearray()
    async for piece in pieces:
        held += piece
        if len(held) > bytes_max:
            raise OutputUnsafeError(f"{what} has more than {bytes_max} bytes")
    return bytes(held)
