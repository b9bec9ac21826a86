"""From the flags of `task submit` to the JSON a node takes; flags win over a file."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from swarmnode.cli import exits
from swarmnode.cli.client import Document, Json

ValueT = TypeVar("ValueT", list[Json], Document)
Flags: TypeAlias = Mapping[str, Any]
"""By the name of its argument each option of `task submit`, of the type that it has there."""

_PLAIN: Final = (
    ("name", "name"), ("env", "env"), ("priority", "priority"), ("priority_class", "class"),
    ("timeout", "timeout"), ("deadline", "deadline"), ("retries", "retries"),
    ("effects", "effects"),
)  # fmt: skip
_SHAPE: Final = (("cpu", "cpu"), ("mem", "mem"), ("disk", "disk"))
_GPU: Final = (("gpu", "count"), ("vram", "vram"), ("gpu_model", "model"))
_LISTS: Final = (
    ("outputs", "outputs"), ("enforce", "enforce"), ("secrets", "secrets"),
    ("secret_to", "secret_to"),
)  # fmt: skip
_CHECKPOINT: Final = (
    ("checkpoint", "dir"), ("checkpoint_every", "every_s"), ("checkpoint_keep", "keep"),
)  # fmt: skip


def read_spec(file: Path | None) -> Document:
    """The table in a .toml or .json file, empty without one. Raises CliError."""
    if file is None:
        return {}
    table = _parsed(file)
    if not isinstance(table, dict):
        raise exits.CliError(f"{file} does not hold a table", exits.USAGE)
    return table


def _parsed(file: Path) -> object:
    import tomllib

    try:
        text = file.read_text()
        return tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
    except OSError as exc:
        raise exits.CliError(f"{file}: {exc.strerror}", exits.USAGE) from exc
    except (ValueError, RecursionError) as exc:  # both parsers' errors are ValueErrors
        kind = "TOML" if file.suffix == ".toml" else "JSON"
        raise exits.CliError(f"{file} is not {kind}: {exc}", exits.USAGE) from exc


def merge_flags(spec: Document, flags: Flags, argv: Sequence[str]) -> None:
    """Put what was given as flags over what the file says."""
    _take(spec, flags, _PLAIN)
    _put(spec, "shape", _shape(spec, flags))
    checkpoint = _table(spec, "checkpoint")
    _take(checkpoint, flags, _CHECKPOINT)
    _put(spec, "checkpoint", checkpoint)
    for flag, key in _LISTS:
        if flags[flag]:
            spec[key] = [*_given(spec, key, list, "list"), *flags[flag]]
    if flags["changes"]:
        spec["changes"] = True
    if flags["net"] is not None:
        spec["net"] = flags["net"].split(",")
    variables = dict(_pair(pair, "--set", "NAME=VALUE") for pair in flags["variables"])
    _put(spec, "variables", {**_table(spec, "variables"), **variables})
    if argv:
        spec["run"] = list(argv)


def _shape(spec: Document, flags: Flags) -> Document:
    shape = _table(spec, "shape")
    _take(shape, flags, _SHAPE)
    given = shape.get("gpu") or {}
    gpu = dict(given) if isinstance(given, Mapping) else {"count": given}
    _take(gpu, flags, _GPU)
    _put(shape, "gpu", gpu)
    return shape


def _take(target: Document, flags: Flags, names: Sequence[tuple[str, str]]) -> None:
    for flag, key in names:
        if flags[flag] is not None:
            target[key] = flags[flag]


def _table(spec: Document, key: str) -> Document:
    return dict(_given(spec, key, dict, "table"))


def _given(spec: Document, key: str, kind: type[ValueT], called: str) -> ValueT:
    """What a file says of a key that flags add to. Raises CliError when that cannot be."""
    value = spec.get(key) or kind()
    if not isinstance(value, kind):
        raise exits.CliError(
            f"the task spec is wrong: {key}: {value!r} is not a {called}", exits.USAGE
        )
    return value


def _put(target: Document, key: str, value: Document) -> None:
    if value:
        target[key] = value


def _pair(text: str, flag: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise exits.CliError(f"{flag} {text!r}: write {flag} {form}", exits.USAGE)
    return name, value
