"""Which machines can run a task at all, by what they advertise, and why the others cannot.

Room that is taken now does not rule a machine out: it may keep a place.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from p2p.ids import LabId, PeerId
from p2p.membership.view import Liveness
from swarmnode import reach
from swarmnode.resources.advert import GpuLine, ResourceAdvert
from swarmnode.resources.cpu import is_below, named
from swarmnode.tasks.choices import DataWay
from swarmnode.tasks.environments.libc import is_older
from swarmnode.tasks.environments.naming import BUILD, IMAGE
from swarmnode.tasks.secrets.wants import may_have
from swarmnode.tasks.spec import GpuWant, Shape, TaskSpec

_MIB: Final = 1024**2


class Seen(msgspec.Struct):
    """All that is known of one machine."""

    advert: ResourceAdvert | None = None
    """None before the first, after it has expired, and where it may not lend."""
    liveness: Liveness | None = None
    """None: membership does not know it."""
    rtt_s: float | None = None
    """Smoothed time from a call to its answer."""
    jitter_s: float = 0.0
    """Smoothed distance of the samples from `rtt_s`; means nothing while that is None."""
    lab: LabId | None = None
    """As its certificate says; None: not known."""
    failures: int = 0
    """Attempts lost there, less those that ended well."""

    def measured(self, sample_s: float) -> None:
        """Take a round trip into account (RFC 6298)."""
        if self.rtt_s is None:
            self.rtt_s, self.jitter_s = sample_s, sample_s / 2
            return
        self.jitter_s += (abs(sample_s - self.rtt_s) - self.jitter_s) / 4
        self.rtt_s += (sample_s - self.rtt_s) / 8

    def slow_rtt_s(self, unknown_s: float) -> float:
        """A round trip that about 95 % of the answers keep."""
        return unknown_s if self.rtt_s is None else self.rtt_s + 2 * self.jitter_s


class Requirement(StrEnum):
    """What of a task's wants a machine does not fulfil, as far as somebody can do about it."""

    CPU = "cpu"
    MEMORY = "memory"
    DISK = "disk"
    GPU = "gpu"
    ENVIRONMENT = "environment"
    NET = "net"
    IMAGE = "image"
    OTHER = "other"


class Lack(msgspec.Struct, frozen=True):
    """Why one machine cannot run a task."""

    words: str
    want: Requirement = Requirement.OTHER
    has: int = 0
    """How much of a thing that is counted it lends."""


FOREIGN: Final = "is of another lab, and the secrets of the task stay in yours (secret_to)"
OLDER: Final = "runs an older version, which would run the task without its secrets: upgrade it"
READ_ONLY: Final = "can only show the image to be read, and others can be written to"
NO_PLACE: Final = "has no place for secrets (its compute.sandbox is container)"


def unfit_because(
    spec: TaskSpec, peer: PeerId, seen: Seen, own_lab: LabId | None = None
) -> Lack | None:
    """Why a machine is not asked; None when it is. `own_lab`: of the task's submitter."""
    if words := _out_of_question(spec, peer, seen, own_lab):
        return Lack(words)
    advert = seen.advert
    if advert is None:
        return Lack("has not told what it lends")
    is_ours = own_lab is None or seen.lab == own_lab
    if lack := _too_small(spec.shape, advert) or _lacking(spec, advert):
        return lack
    if words := _data_unseen(spec, advert):
        return Lack(words)
    if words := _out_of_reach(spec, advert, is_ours=is_ours):
        return Lack(words, Requirement.NET)
    # The last: who lacks nothing else is asked where nobody is better.
    return Lack(READ_ONLY, Requirement.IMAGE) if _image_unwritten(spec, advert) else None


def _out_of_question(spec: TaskSpec, peer: PeerId, seen: Seen, own_lab: LabId | None) -> str:
    """What has nothing to do with the room that it lends."""
    if peer in spec.avoid:
        return "the task avoids it"
    if spec.require and peer not in spec.require:
        return "the task requires other machines"
    if seen.liveness is not Liveness.ALIVE:
        return _standing(seen.liveness)
    if spec.secrets and not may_have(spec.secret_to, seen.lab, own_lab):
        return FOREIGN
    if seen.advert is not None and not seen.advert.lends:
        return "lends nothing"
    return "paused by its owner" if seen.advert is not None and seen.advert.paused else ""


def has_room(shape: Shape, advert: ResourceAdvert) -> bool:
    """Whether the machine says that it could start such a task now."""
    return (
        advert.lends
        and not advert.paused
        and advert.tasks_free > 0
        and advert.cpu_free_millis >= shape.cpu_millis
        and advert.memory_free_bytes >= shape.memory_bytes
        and advert.disk_free_bytes >= shape.disk_bytes
        and len([gpu for gpu in _matching(shape.gpu, advert.gpus) if gpu.free]) >= shape.gpu.count
    )


def _standing(liveness: Liveness | None) -> str:
    return "unknown" if liveness is None else f"is {liveness.name.lower()}"


def _too_small(shape: Shape, advert: ResourceAdvert) -> Lack | None:
    if (have := advert.cpu_millis) < shape.cpu_millis:
        words = f"lends {have / 1000:g} cores, {shape.cpu_millis / 1000:g} asked"
        return Lack(words, Requirement.CPU, have)
    if advert.memory_bytes < shape.memory_bytes:
        have, want = advert.memory_bytes // _MIB, -(-shape.memory_bytes // _MIB)
        return Lack(f"lends {have} MiB of memory, {want} MiB asked", Requirement.MEMORY, have)
    if advert.disk_bytes < shape.disk_bytes:
        have, want = advert.disk_bytes // _MIB, -(-shape.disk_bytes // _MIB)
        return Lack(f"lends {have} MiB of disk, {want} MiB asked", Requirement.DISK, have)
    if shape.gpu.count and len(_matching(shape.gpu, advert.gpus)) < shape.gpu.count:
        have = len(advert.gpus)
        return Lack(f"lends {have} GPUs, {_gpu_words(shape.gpu)} asked", Requirement.GPU, have)
    return None


def _lacking(spec: TaskSpec, advert: ResourceAdvert) -> Lack | None:
    if spec.secrets and not advert.knows_secrets:
        return Lack(OLDER)
    if spec.secrets and not advert.has_secret_place:
        return Lack(NO_PLACE)
    if spec.env and (words := _lacking_environment(spec, advert)):
        return Lack(words, Requirement.ENVIRONMENT)
    missing = [limit for limit in spec.enforce if limit not in advert.enforced]
    return Lack(f"cannot enforce {', '.join(missing)}") if missing else None


def _out_of_reach(spec: TaskSpec, advert: ResourceAdvert, *, is_ours: bool) -> str:
    """What its owner would not let such a task talk to."""
    allowed = advert.net if is_ours else advert.net_others
    if missing := reach.beyond(allowed, spec.net):
        whose = "its own lab" if is_ours else "other labs"
        told = f"lets tasks of {whose} reach {reach.named(reach.words_in(allowed))}"
        return f"{told}, {reach.named(missing)} asked"
    return ""


def _lacking_environment(spec: TaskSpec, advert: ResourceAdvert) -> str:
    if spec.built is not None:
        if advert.machine != spec.built.machine:
            kind = advert.machine or "not said to be"
            return f"is {kind}, the environment is for {spec.built.machine}"
        if is_older(advert.glibc, spec.built.glibc):
            return f"has glibc {advert.glibc}, the environment needs {spec.built.glibc}"
        if is_below(advert.cpu_level, needs := spec.built.cpu_level):
            return f"has a processor of {named(advert.cpu_level)}, {named(needs)} is needed"
        return "" if advert.brings else "shows no environments of the pool"
    if spec.env in advert.environments:
        return ""
    if spec.env == f"{BUILD}{IMAGE}":
        return "unpacks no images"
    if spec.env.startswith(BUILD):
        return f"has no CPython {spec.env.removeprefix(BUILD)} to build an environment with"
    return f"has no environment {spec.env!r}"


def _image_unwritten(spec: TaskSpec, advert: ResourceAdvert) -> bool:
    """The task could only read its image there: who has no other machine has to do with that."""
    return spec.built is not None and spec.built.is_image and not advert.writes_images


def _data_unseen(spec: TaskSpec, advert: ResourceAdvert) -> str:
    """Why the task would not see its datasets there."""
    if spec.data and not advert.data:
        return "is an older version, which shows no datasets"
    if advert.data == DataWay.INSIDE and any(place.startswith("/") for place, _ in spec.data):
        return "shows datasets in the work folder only"
    return ""


def _matching(want: GpuWant, gpus: Sequence[GpuLine]) -> list[GpuLine]:
    model = want.model.lower()
    return [g for g in gpus if g.vram_bytes >= want.vram_bytes and model in g.model.lower()]


def _gpu_words(want: GpuWant) -> str:
    vram = f" of {want.vram_bytes // _MIB} MiB" if want.vram_bytes else ""
    kind = "GPU" if want.count == 1 else "GPUs"
    model = f" {want.model or kind}" if want.model or vram else ""
    return f"{want.count}{model}{vram}"
