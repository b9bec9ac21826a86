"""A task spec from TOML, JSON or flags: every fault is reported at once, with its remedy."""

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Final

from p2p.wire.codec import encode
from swarmnode.errors import SpecError
from swarmnode.limits import SPEC_BYTES_MAX, SPEC_TEXT_CHARS_MAX, SPEC_VALUES_MAX
from swarmnode.tasks.secrets.wants import text_of
from swarmnode.tasks.spec import BuiltEnvironment, GpuWant, NetWant, Shape, TaskSpec
from swarmnode.tasks.spec_read import Reader, read_task

_ENDLESS_KEY: Final = re.compile(r"^(?:[^.=\[#\n]+\.){32}", re.MULTILINE)
"""A dotted key takes the parser the square of its parts: 30,000 of them ten seconds."""
_IN_ANY_ORDER: Final = frozenset(("variables", "inputs", "data", "secrets", "secret_to", "enforce"))


def spec_from_toml(text: str) -> TaskSpec:
    """Read a task file. Raises SpecError."""
    if len(text) > SPEC_TEXT_CHARS_MAX:
        raise SpecError(f"the task file has {len(text)} characters, limit {SPEC_TEXT_CHARS_MAX}")
    if _ENDLESS_KEY.search(text):
        raise SpecError("not TOML as tasks need it: a key has more than 32 parts")
    try:
        given = tomllib.loads(text)
    except (ValueError, RecursionError) as exc:  # endless numbers and brackets among them
        raise SpecError(f"not TOML: {exc}") from exc
    return spec_from_dict(given)


def spec_from_json(text: str | bytes) -> TaskSpec:
    """Read a JSON task. Raises SpecError."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise SpecError(f"not JSON: {exc}") from exc
    if not isinstance(given, dict):
        raise SpecError('a task is a JSON object: {"run": ["program", "argument"]}')
    return spec_from_dict(given)


def spec_from_dict(given: Mapping[str, object]) -> TaskSpec:
    """Check and convert; raises SpecError whose text has one line per fault."""
    faults: list[str] = []
    spec = read_task(Reader(given, "", faults))
    if not faults and (size := len(encode(spec))) > SPEC_BYTES_MAX:
        remedy = "give long arguments as an input file"
        faults.append(f"the task takes {size} bytes, limit {SPEC_BYTES_MAX}: {remedy}")
    tables = len(spec.variables) + len(spec.inputs) + len(spec.data)
    values = len(spec.run) + len(spec.outputs) + 3 * tables
    values += 3 * len(spec.secrets) + len(spec.secret_to) + len(spec.net)
    if values + len(spec.avoid) + len(spec.require) > SPEC_VALUES_MAX:
        faults.append(f"the task has too many values, limit {SPEC_VALUES_MAX}: pack some inputs")
    if faults:
        raise SpecError("\n".join(faults))
    return spec


def is_sound(spec: TaskSpec) -> bool:
    """Whether a spec from the wire is just what the local API would have made of it.

    In any order where that means nothing. What is written in another way, or is in it twice (a
    variable, an input, a limit), would be used as it is though only what was read of it had been
    checked: an environment of others in place of the one that `built` names.
    """
    try:
        read = spec_from_dict(spec_as_dict(spec))
    except SpecError:
        return False
    return all(
        sorted(getattr(read, name)) == sorted(getattr(spec, name))
        if name in _IN_ANY_ORDER
        else getattr(read, name) == getattr(spec, name)
        for name in TaskSpec.__struct_fields__
    )


def spec_as_dict(spec: TaskSpec) -> dict[str, object]:
    """The spec as `spec_from_dict` reads it; what is at its default is left out."""
    defaults = every_key(TaskSpec(()))
    return {key: value for key, value in every_key(spec).items() if value != defaults[key]}


def every_key(spec: TaskSpec) -> dict[str, object]:
    """The spec as `spec_from_dict` reads it, with what is at its default."""
    document: dict[str, object] = {
        "name": spec.name,
        "kind": spec.kind,
        "run": list(spec.run),
        "env": spec.env,
        "variables": dict(spec.variables),
        "inputs": dict(spec.inputs),
        "outputs": list(spec.outputs),
        "shape": _shape_as_dict(spec.shape),
        "class": spec.priority_class.value,
        "priority": spec.priority,
        "timeout": f"{spec.timeout_ms}ms",
        "deadline": f"{spec.deadline_ms}ms",
        "retries": spec.retries,
        "checkpoint": None,
        "effects": spec.effects.value,
        "enforce": list(spec.enforce),
        "avoid": list(spec.avoid),
        "require": list(spec.require),
        "changes": spec.changes,
        "secrets": [text_of(name, where) for name, where in spec.secrets],
        "secret_to": list(spec.secret_to),
        "net": list(spec.net),
        "built": None if spec.built is None else built_as_dict(spec.built),
        "data": dict(spec.data),
    }
    if spec.checkpoint is not None:
        every = f"{spec.checkpoint.every_ms}ms"
        keep = spec.checkpoint.keep
        document["checkpoint"] = {"dir": spec.checkpoint.folder, "every_s": every, "keep": keep}
    return document


def built_as_dict(built: BuiltEnvironment) -> dict[str, object]:
    """As the key `built` has it."""
    document: dict[str, object] = {
        "cap": built.cap,
        "digest": built.digest.hex(),
        "bytes": built.size_bytes,
        "machine": built.machine,
        **({"glibc": built.glibc} if built.glibc else {}),
        **({"image": True} if built.is_image else {}),
        **({"cpu_level": built.cpu_level} if built.cpu_level else {}),
    }
    return document


def _shape_as_dict(shape: Shape) -> dict[str, object]:
    document: dict[str, object] = {
        "cpu": f"{shape.cpu_millis}m",
        "mem": shape.memory_bytes,
        "disk": shape.disk_bytes,
    }
    if shape.gpu != GpuWant():
        gpu = shape.gpu
        document["gpu"] = {"count": gpu.count, "vram": gpu.vram_bytes, "model": gpu.model}
    if shape.net != NetWant():
        document["net"] = {"up": shape.net.up_bytes_per_s, "down": shape.net.down_bytes_per_s}
    return document
