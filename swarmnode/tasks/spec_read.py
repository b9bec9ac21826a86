"""Reads the keys of a task one by one and notes every fault instead of stopping at the first."""

import difflib
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final, TypeVar

from msgspec.structs import replace

from p2p.ids import PeerId
from storage.errors import CapabilityError
from storage.manifests.capability import parse_cap
from swarmnode import reach
from swarmnode.limits import (
    DATA_MAX,
    PATTERNS_MAX,
    RETRIES_MAX,
    TASK_MEMORY_BYTES_MIN,
    TASK_NAME_CHARS_MAX,
)
from swarmnode.resources.cpu import LEVEL_MAX
from swarmnode.tasks.choices import Limit, PriorityClass, Repeatability
from swarmnode.tasks.environments.naming import BUILT, KEY_BYTES
from swarmnode.tasks.environments.recipe import build_fault
from swarmnode.tasks.secrets.wants import ANY_LAB, variables_of, wants_of
from swarmnode.tasks.sizes import parse_bytes, parse_cores, parse_duration_ms
from swarmnode.tasks.spec import (
    BuiltEnvironment,
    CheckpointSpec,
    GpuWant,
    NetWant,
    Shape,
    TaskSpec,
)
from swarmnode.tree.mount_points import data_place, refuse_nested
from swarmnode.tree.names import normal
from swarmnode.tree.pattern import Pattern

ValueT = TypeVar("ValueT")
ChoiceT = TypeVar("ChoiceT", bound=StrEnum)


class Reader:
    """One table of a spec; `faults` is shared with the tables inside it."""

    def __init__(self, given: Mapping[str, object], where: str, faults: list[str]) -> None:
        self._given, self._where, self.faults = given, where, faults
        self._known: list[str] = []

    def fault(self, key: str, problem: str) -> None:
        """Note what is wrong with a key."""
        self.faults.append(f"{self._where}{key}: {problem}")

    def take(self, key: str, parse: Callable[[object], ValueT], default: ValueT) -> ValueT:
        """The value of a key, or its default when it is missing or wrong (which is noted)."""
        self._known.append(key)
        if key not in self._given:
            return default
        try:
            return parse(self._given[key])
        except ValueError as exc:
            self.fault(key, str(exc))
            return default

    def table(self, key: str) -> "Reader | None":
        """A nested table, or None when it is not given."""
        self._known.append(key)
        given = self._given.get(key)
        if given is None:
            return None
        if not isinstance(given, Mapping):
            self.fault(key, f"{given!r} is not a table")
            return None
        return Reader(given, f"{self._where}{key}.", self.faults)

    def end(self) -> None:
        """Note every key that nobody asked for, with the nearest that exists."""
        for key in self._given:
            if key not in self._known:
                near = difflib.get_close_matches(str(key), self._known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(self._known)}"
                self.fault(str(key), f"no such key: {hint}")


def read_task(reader: Reader) -> TaskSpec:
    """The whole task; look into `reader.faults` before using it."""
    spec = TaskSpec(
        name=reader.take("name", _text, ""),
        kind=reader.take("kind", _kind, "exec"),
        run=reader.take("run", _argv, ()),
        env=reader.take("env", _text, ""),
        variables=reader.take("variables", _variables, ()),
        inputs=reader.take("inputs", _inputs, ()),
        outputs=reader.take("outputs", _globs, ()),
        shape=_shape(reader.table("shape")),
        priority_class=reader.take("class", _choice(PriorityClass), PriorityClass.BATCH),
        priority=reader.take("priority", _count(0, 9), 5),
        timeout_ms=reader.take("timeout", _positive_ms, TaskSpec(()).timeout_ms),
        deadline_ms=reader.take("deadline", parse_duration_ms, 0),
        retries=reader.take("retries", _count(0, RETRIES_MAX), 0),
        checkpoint=_checkpoint(reader.table("checkpoint")),
        effects=reader.take("effects", _choice(Repeatability), Repeatability.IDEMPOTENT),
        enforce=reader.take("enforce", _limits, ()),
        avoid=reader.take("avoid", _peers, ()),
        require=reader.take("require", _peers, ()),
        changes=reader.take("changes", _yes_or_no, False),
        secrets=reader.take("secrets", lambda given: wants_of(_texts(given)), ()),
        secret_to=reader.take("secret_to", _labs, ()),
        net=reader.take("net", _reach, ()),
        built=_built(reader.table("built")),
        data=reader.take("data", _data, ()),
    )
    if spec.built is not None and not reader.faults:
        spec = replace(spec, env=spec.built.name)
    elif spec.env.startswith(BUILT):
        reader.fault("env", f"{spec.env!r} says nothing without `built`")
    if fault := build_fault(spec, is_restored=False):
        reader.fault("env", fault)
    if not spec.run and not any(fault.startswith("run:") for fault in reader.faults):
        reader.fault("run", "give the program and its arguments as a list")
    for name in sorted({*variables_of(spec.secrets)} & {name for name, _ in spec.variables}):
        reader.fault("secrets", f"{name!r} is a variable already: give the secret another name")
    reader.end()
    return spec


def _shape(reader: Reader | None) -> Shape:
    if reader is None:
        return Shape()
    plain = Shape()
    shape = Shape(
        cpu_millis=reader.take("cpu", _cores, plain.cpu_millis),
        memory_bytes=reader.take("mem", _memory_bytes, plain.memory_bytes),
        disk_bytes=reader.take("disk", parse_bytes, plain.disk_bytes),
        gpu=_gpu(reader),
        net=_net(reader.table("net")),
    )
    reader.end()
    return shape


def _net(reader: Reader | None) -> NetWant:
    if reader is None:
        return NetWant()
    net = NetWant(
        up_bytes_per_s=reader.take("up", parse_bytes, 0),
        down_bytes_per_s=reader.take("down", parse_bytes, 0),
    )
    reader.end()
    return net


def _gpu(shape: Reader) -> GpuWant:
    simple = shape.take("gpu", lambda given: given if isinstance(given, int) else None, None)
    if simple is not None:
        return GpuWant(shape.take("gpu", _count(0, 64), 0))
    reader = shape.table("gpu")
    if reader is None:
        return GpuWant()
    gpu = GpuWant(
        count=reader.take("count", _count(1, 64), 1),
        vram_bytes=reader.take("vram", parse_bytes, 0),
        model=reader.take("model", _text, ""),
    )
    reader.end()
    return gpu


def _checkpoint(reader: Reader | None) -> CheckpointSpec | None:
    if reader is None:
        return None
    plain = CheckpointSpec("checkpoint")
    spec = CheckpointSpec(
        folder=reader.take("dir", _folder, plain.folder),
        every_ms=reader.take("every_s", _positive_ms, plain.every_ms),
        keep=reader.take("keep", _count(2, 100), plain.keep),
    )
    reader.end()
    return spec


def _built(reader: Reader | None) -> BuiltEnvironment | None:
    if reader is None:
        return None
    built = BuiltEnvironment(
        cap=reader.take("cap", _cap, ""),
        digest=reader.take("digest", _digest, b""),
        size_bytes=reader.take("bytes", _count(0, 1 << 50), 0),
        machine=reader.take("machine", _text, ""),
        glibc=reader.take("glibc", _text, ""),
        is_image=reader.take("image", _yes_or_no, False),
        cpu_level=reader.take("cpu_level", _count(0, LEVEL_MAX), 0),
    )
    if not built.cap or not built.digest or not built.machine:
        reader.fault("built", "cap, digest, bytes and machine belong together")
    reader.end()
    return built


# -- values: each raises ValueError with a text for people


def _text(given: object) -> str:
    if not isinstance(given, str) or len(given) > TASK_NAME_CHARS_MAX or not given.isprintable():
        raise ValueError(
            f"{str(given)[:40]!r} is not printable text of at most {TASK_NAME_CHARS_MAX} characters"
        )
    return given


def _yes_or_no(given: object) -> bool:
    if not isinstance(given, bool):
        raise ValueError(f"{given!r} is neither true nor false")
    return given


_BYTES: Final = ": only UTF-8 without NUL is"


def _is_text(given: object) -> bool:
    """Whether it can be an argument and can be written down: arguments may be any bytes."""
    if not isinstance(given, str) or "\0" in given:
        return False
    try:
        given.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(given: object) -> str:
    if given != "exec":
        raise ValueError(f"{given!r} is not supported: the only kind is 'exec'")
    return "exec"


def _texts(given: object) -> tuple[str, ...]:
    if not isinstance(given, list | tuple):
        raise ValueError(f"{given!r} is not a list of strings")
    for text in given:
        if not _is_text(text):
            raise ValueError(f"{text!r} is not a text{_BYTES}")
    return tuple(given)


def _argv(given: object) -> tuple[str, ...]:
    argv = _texts(given)
    if not argv or not argv[0]:
        raise ValueError("give the program and its arguments as a list")
    return argv


def _pairs(given: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(given, Mapping):
        raise ValueError(f"{given!r} is not a table of strings")
    for key, value in given.items():
        if not _is_text(key) or not _is_text(value):
            raise ValueError(f"{key!r} = {value!r} is not a text{_BYTES}")
    return tuple(sorted(given.items()))


def _variables(given: object) -> tuple[tuple[str, str], ...]:
    pairs = _pairs(given)
    for key, _ in pairs:
        if not key or "=" in key:
            raise ValueError(f"{key!r} is not a valid variable name")
    return pairs


def _inputs(given: object) -> tuple[tuple[str, str], ...]:
    inputs: dict[str, str] = {}
    for name, cap in _pairs(given):
        if (place := normal(name)) in inputs:
            raise ValueError(f"two inputs are to be {place!r}: give one another name")
        try:
            parse_cap(cap)
        except CapabilityError as exc:
            raise ValueError(f"{name}: {exc}") from exc
        inputs[place] = cap
    return tuple(sorted(inputs.items()))


def _cap(given: object) -> str:
    try:
        parse_cap(str(given))
    except CapabilityError as exc:
        raise ValueError(str(exc)) from exc
    return str(given)


def _digest(given: object) -> bytes:
    if not isinstance(given, str) or len(given) != 2 * KEY_BYTES:
        raise ValueError(f"{str(given)[:40]!r} is not {2 * KEY_BYTES} hexadecimal digits")
    return bytes.fromhex(given)


def _data(given: object) -> tuple[tuple[str, str], ...]:
    pairs = _pairs(given)
    if len(pairs) > DATA_MAX:
        raise ValueError(f"{len(pairs)} datasets, limit {DATA_MAX}: put some into one folder")
    places = [data_place(target) for target, _ in pairs]
    refuse_nested(places)
    for (target, cap), _ in zip(pairs, places, strict=True):
        try:
            parse_cap(cap)
        except CapabilityError as exc:
            raise ValueError(f"{target}: {exc}") from exc
    return tuple(sorted((place, cap) for place, (_, cap) in zip(places, pairs, strict=True)))


def _globs(given: object) -> tuple[str, ...]:
    globs = _texts(given)
    if len(globs) > PATTERNS_MAX:
        raise ValueError(f"{len(globs)} patterns, limit {PATTERNS_MAX}: name a folder, or use *")
    return tuple(Pattern(glob).text for glob in globs)


def _folder(given: object) -> str:
    folder = normal(given) if isinstance(given, str) else "."
    if folder == ".":
        raise ValueError(f"{given!r} is not a name inside the work folder")
    return folder


def _limits(given: object) -> tuple[str, ...]:
    names = _texts(given)
    for name in names:
        if name not in tuple(Limit):
            raise ValueError(f"no limit {name!r}: known are {', '.join(Limit)}")
    return tuple(limit.value for limit in Limit if limit in names)


def _reach(given: object) -> tuple[str, ...]:
    return reach.parse(given.split(",") if isinstance(given, str) else _texts(given))


def _peers(given: object) -> tuple[PeerId, ...]:
    return tuple(PeerId(text) for text in _texts(given))


def _labs(given: object) -> tuple[str, ...]:
    labs = _texts(given)
    if ANY_LAB in labs and len(labs) > 1:
        raise ValueError(f"{ANY_LAB!r} is every lab: name no other besides")
    return tuple(sorted(set(labs)))


def _count(low: int, high: int) -> Callable[[object], int]:
    def parse(given: object) -> int:
        if isinstance(given, bool) or not isinstance(given, int) or not low <= given <= high:
            raise ValueError(f"{given!r} is not a number from {low} to {high}")
        return given

    return parse


def _choice(kind: type[ChoiceT]) -> Callable[[object], ChoiceT]:
    def parse(given: object) -> ChoiceT:
        names = [choice.value for choice in kind]
        if given not in names:
            raise ValueError(f"{given!r} is none of {', '.join(names)}")
        return kind(given)

    return parse


def _cores(given: object) -> int:
    millis = parse_cores(given)
    if millis == 0:
        raise ValueError("a task needs some CPU: write 0.1 or more")
    return millis


def _memory_bytes(given: object) -> int:
    size = parse_bytes(given)
    if size < TASK_MEMORY_BYTES_MIN:
        raise ValueError(f"is {size} bytes, too little for any program: write 4G or 512M")
    return size


def _positive_ms(given: object) -> int:
    millis = parse_duration_ms(given)
    if millis == 0:
        raise ValueError("must be greater than 0")
    return millis
