"""Reading the configuration: one value per key from the strongest source, all faults at once."""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from swarmnode.errors import ConfigError
from swarmnode.home.config import PROFILES, SECTIONS, Config, EnvSection, fault_of

_ENV_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_TRUTHS: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_PROFILE: Final = "node.profile"
CONFIG_BYTES_MAX: Final = 1024 * 1024
"""A configuration file: the longest sensible one is a few kilobytes."""


class _Given(msgspec.Struct, frozen=True):
    value: object
    origin: str
    where: str
    """How a fault names it: a table key, a variable or a flag."""


def load(
    config_file: Path, environ: Mapping[str, str], flags: Mapping[str, object] | None = None
) -> Config:
    """Merge all sources; a missing file is an empty one.

    `flags` maps `section.key` to a value or its text. Raises ConfigError listing every fault.
    """
    config, fault = load_all_that_is_right(config_file, environ, flags)
    if fault is not None:
        raise fault
    return config


def load_all_that_is_right(
    config_file: Path, environ: Mapping[str, str], flags: Mapping[str, object] | None = None
) -> tuple[Config, ConfigError | None]:
    """The same with defaults where something is wrong, and what is."""
    reader = _ConfigReader()
    reader.read_file(config_file)
    reader.read_environment(environ)
    reader.read_flags(flags or {})
    config = reader.merged()
    return config, reader.fault()


def shown(config: Config) -> list[dict[str, object]]:
    """Every key with its value and origin, in order, for `config show`."""
    rows: list[dict[str, object]] = []
    for section in SECTIONS:
        part = getattr(config, section)
        rows += [
            _row(config, f"{section}.{spec.name}", getattr(part, spec.name))
            for spec in fields(part)
        ]
    rows += [_row(config, f"env.{name}.path", env.path) for name, env in config.env.items()]
    return rows


def _row(config: Config, key: str, value: object) -> dict[str, object]:
    return {"key": key, "value": value, "origin": config.origins.get(key, "default")}


class _ConfigReader(msgspec.Struct):
    """Collects values, later sources over earlier ones, and every fault on the way."""

    given: dict[str, _Given] = msgspec.field(default_factory=dict)
    faults: list[str] = msgspec.field(default_factory=list)
    variables: list[str] = msgspec.field(default_factory=list)
    """Of the environment: one fault each, among the others."""

    def fault(self) -> ConfigError | None:
        """All that is wrong as one error."""
        if not self.faults:
            return None
        lines = "\n  ".join(self.faults)
        text = f"the configuration cannot be used:\n  {lines}"
        is_file = len(self.faults) > len(self.variables)
        return ConfigError(text, tuple(self.variables), is_file=is_file)

    def read_file(self, path: Path) -> None:
        text = self._text_in(path)
        if text is None:
            return
        try:
            tables = tomllib.loads(text.decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
            remedy = "correct it, or move it away for the defaults"
            self.faults.append(f"{path} is no TOML ({exc}): {remedy}")
            return
        self._read_tables(tables, path)

    def _text_in(self, path: Path) -> bytes | None:
        """None where nothing is, or nothing that could be read, which is a fault."""
        try:
            with path.open("rb") as file:
                text = file.read(CONFIG_BYTES_MAX + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            self.faults.append(f"{path}: cannot be read: {exc.strerror}")
            return None
        if len(text) > CONFIG_BYTES_MAX:
            self.faults.append(f"{path}: longer than {CONFIG_BYTES_MAX} bytes")
            return None
        return text

    def _read_tables(self, tables: Mapping[str, object], path: Path) -> None:
        for section, table in tables.items():
            if not isinstance(table, dict):
                hint = _nearest(section, SECTIONS)
                self.faults.append(f"{path}: {section} stands outside of a [section]{hint}")
            elif section == "env":
                self._read_envs(table, path)
            else:
                for key, value in table.items():
                    where = f"{path}: [{section}] {key}"
                    self._take(f"{section}.{key}", _Given(value, f"file {path}", where))
                if not table:
                    self._spec_of(f"{section}.", f"{path}: [{section}]")

    def _read_envs(self, tables: Mapping[str, object], path: Path) -> None:
        for name, table in tables.items():
            if not isinstance(table, dict):
                self.faults.append(f"{path}: [env] {name} must be a table: [env.{name}]")
                continue
            for key, value in table.items():
                where = f"{path}: [env.{name}] {key}"
                self._take(f"env.{name}.{key}", _Given(value, f"file {path}", where))

    def read_environment(self, environ: Mapping[str, str]) -> None:
        for variable in sorted(environ):
            if variable.startswith("SWARM_") and "__" in variable:
                key = variable.removeprefix("SWARM_").lower().replace("__", ".")
                faults = len(self.faults)
                self._take(key, _Given(environ[variable], f"env {variable}", variable))
                if len(self.faults) > faults:
                    self.variables.append(variable)

    def read_flags(self, flags: Mapping[str, object]) -> None:
        for key, value in flags.items():
            self._take(key, _Given(value, "flag", f"flag {key}"))

    def _take(self, key: str, given: _Given) -> None:
        spec = self._spec_of(key, given.where)
        if spec is None:
            return
        try:
            value = _as_type(spec.type, given.value)
        except ValueError as exc:
            self.faults.append(f"{given.where} = {given.value!r} {exc}")
            return
        fault = _env_fault(key, value) if key.startswith("env.") else fault_of(spec, value)
        if fault is not None:
            self.faults.append(f"{given.where} = {given.value!r} {fault}")
            return
        self.given[key] = replace(given, value=value)

    def _spec_of(self, key: str, where: str) -> Field[object] | None:
        """The field a key sets; notes a fault, with the nearest name, if there is none."""
        section, _, name = key.partition(".")
        if section == "env":
            env, _, name = name.rpartition(".")
            if not _ENV_NAME.fullmatch(env):
                self.faults.append(f"{where}: {env!r} is not a valid environment name")
                return None
            known = {spec.name: spec for spec in fields(EnvSection)}
        elif section in SECTIONS:
            known = {spec.name: spec for spec in fields(SECTIONS[section])}
        else:
            self.faults.append(f"{where}: no such section{_nearest(section, (*SECTIONS, 'env'))}")
            return None
        if name and name not in known:
            self.faults.append(f"{where}: no such key{_nearest(name, known)}")
        return known.get(name)

    def merged(self) -> Config:
        """The configuration made of what was given and the profile's defaults."""
        profile = self.given[_PROFILE].value if _PROFILE in self.given else "server"
        assert isinstance(profile, str)
        values = {
            key: _Given(value, f"profile {profile}", "") for key, value in PROFILES[profile].items()
        }
        values |= self.given
        sections = {name: self._section(name, values) for name in SECTIONS}
        envs = {
            key.split(".", 1)[1].rpartition(".")[0]: EnvSection(str(given.value))
            for key, given in sorted(values.items())
            if key.startswith("env.")
        }
        origins = {key: given.origin for key, given in values.items()}
        return Config(**sections, env=envs, origins=origins)

    def _section(self, name: str, values: Mapping[str, _Given]) -> Any:  # noqa: ANN401  (SECTIONS says which)
        kind = SECTIONS[name]
        mine = {
            spec.name: values[key].value
            for spec in fields(kind)
            if (key := f"{name}.{spec.name}") in values
        }
        try:
            return kind(**mine)
        except ConfigError as exc:
            self.faults.append(f"[{name}] {exc}")
            return kind()


def _as_type(kind: object, value: object) -> object:
    """The value as the field's type, from TOML or from text. Raises ValueError."""
    if kind is bool:
        return _as_truth(value)
    if kind is str:
        if isinstance(value, str) and value.isprintable():
            return value
        raise ValueError("must be a text")
    if kind is int or kind is float:
        return _as_number(kind is int, value)
    return _as_strings(value)


def _as_truth(value: object) -> bool:
    if isinstance(value, str):
        value = _TRUTHS.get(value.lower())
    if isinstance(value, bool):
        return value
    raise ValueError("must be true or false")


def _as_strings(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise ValueError("must be a list of strings")


def _as_number(whole: bool, value: object) -> int | float:
    refusal = "must be a whole number" if whole else "must be a number"
    if isinstance(value, str):
        try:
            value = int(value) if whole else float(value)
        except ValueError as exc:
            raise ValueError(refusal) from exc
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(refusal)
    if whole:
        if isinstance(value, float):
            raise ValueError(refusal)
        return value
    return float(value)


def _env_fault(key: str, value: object) -> str | None:
    if key.endswith(".path") and not (isinstance(value, str) and value.startswith("/")):
        return "must be an absolute path"
    return None


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(names)}"
