"""From the flags of `task submit` to the JSON a node takes; flags win over a file."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from swarmnode.cli import exits

_PLAIN: Final = (
    ("name", "name"), ("env", "env"), ("priority", "priority"), ("priority_class", "class"),
    ("timeout", "timeout"), ("deadline", "deadline"), ("retries", "retries"),
    ("effects", "effects"),
)  # fmt: skip
_SHAPE: Final = (("cpu", "cpu"), ("mem", "mem"), ("disk", "disk"))
_GPU: Final = (("gpu", "count"), ("vram", "vram"), ("gpu_model", "model"))
_CHECKPOINT: Final = (
    ("checkpoint", "dir"), ("checkpoint_every", "every_s"), ("checkpoint_keep", "keep"),
)  # fmt: skip


def read_spec(file: Path | None) -> dict[str, Any]:
    """The table in a .toml or .json file, empty without one. Raises CliError."""
    if file is None:
        return {}
    import tomllib

    try:
        text = file.read_text()
        found = tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
    except OSError as exc:
        raise exits.CliError(f"{file}: {exc.strerror}", exits.USAGE) from exc
    except (ValueError, RecursionError) as exc:  # both parsers' errors are ValueErrors
        kind = "TOML" if file.suffix == ".toml" else "JSON"
        raise exits.CliError(f"{file} is not {kind}: {exc}", exits.USAGE) from exc
    if not isinstance(found, dict):
        raise exits.CliError(f"{file} does not hold a table", exits.USAGE)
    return found


def merge_flags(spec: dict[str, Any], flags: Mapping[str, Any], argv: Sequence[str]) -> None:
    """Put what was given as flags over what the file says."""
    _take(spec, flags, _PLAIN)
    shape = dict(spec.get("shape") or {})
    _take(shape, flags, _SHAPE)
    given = shape.get("gpu") or {}
    gpu = dict(given) if isinstance(given, Mapping) else {"count": given}
    _take(gpu, flags, _GPU)
    _put(shape, "gpu", gpu)
    _put(spec, "shape", shape)
    checkpoint = dict(spec.get("checkpoint") or {})
    _take(checkpoint, flags, _CHECKPOINT)
    _put(spec, "checkpoint", checkpoint)
    for flag, key in (("outputs", "outputs"), ("enforce", "enforce")):
        if flags[flag]:
            spec[key] = [*spec.get(key, ()), *flags[flag]]
    variables = dict(_pair(one, "--set", "NAME=VALUE") for one in flags["variables"])
    _put(spec, "variables", {**spec.get("variables", {}), **variables})
    if argv:
        spec["run"] = list(argv)


def _take(target: dict[str, Any], flags: Mapping[str, Any], names: Sequence[Any]) -> None:
    for flag, key in names:
        if flags[flag] is not None:
            target[key] = flags[flag]


def _put(target: dict[str, Any], key: str, value: dict[str, Any]) -> None:
    if value:
        target[key] = value


def _pair(text: str, flag: str, form: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name:
        raise exits.CliError(f"{flag} {text!r}: write {flag} {form}", exits.USAGE)
    return name, value
