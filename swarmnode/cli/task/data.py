"""`--data`: what the pool has, or a file or folder of this machine, as a dataset of a task."""

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swarmnode.cli import exits
from swarmnode.cli.client import Client, Document
from swarmnode.cli.files import folders
from swarmnode.cli.near import meant
from swarmnode.cli.task import inputs as task_inputs

_FORM: Final = "write --data WHAT=/path, such as --data imagenet=/data"


@dataclass(frozen=True, slots=True)
class WantedData:
    """One of them: a capability, a path of this machine, or a name as `obj ls` has it."""

    place: str
    what: str
    path: Path | None = None
    """Where it lies here; None: it is in the pool."""


def read(given: Sequence[str], spec: Document, root: Path | None = None) -> list[WantedData]:
    """What was asked for, the flags before the spec. Raises CliError.

    Paths in the spec count from `root`; what flags give counts from here.
    """
    asked = _given(spec)
    places = {place: _dataset(place, what, root) for place, what in asked.items()}
    for text in given:
        what, equals, target = text.rpartition("=")
        if not (what and equals and target):
            raise exits.CliError(f"--data {folders.shown(text)}: {_FORM}", exits.USAGE)
        place = _place(target, text)
        places[place] = _dataset(place, what, None)
    return list(places.values())


def _given(spec: Document) -> Mapping[str, str]:
    table = spec.get("data") or {}
    if not isinstance(table, Mapping):
        told = 'data: write a table, such as data = { "/data" = "imagenet" }'
        raise exits.CliError(f"the task spec is wrong: {told}", exits.USAGE)
    for place, what in table.items():
        if not isinstance(what, str) or not what:
            told = f"data: {place} = {what!r}: name an object, a file or a folder"
            raise exits.CliError(f"the task spec is wrong: {told}", exits.USAGE)
    return table


def _place(target: str, text: str) -> str:
    from swarmnode.tree.mount_points import data_place

    try:
        return data_place(os.fsencode(target).decode())
    except ValueError as error:
        raise exits.CliError(f"--data {folders.shown(text)}: {error}", exits.USAGE) from error


def _dataset(place: str, what: str, root: Path | None) -> WantedData:
    if what.startswith("swarm:"):
        return WantedData(place, what)
    path = (root or Path()) / what
    if not os.path.lexists(path):
        if "/" in what:
            raise exits.CliError(f"--data {folders.shown(what)}: there is no such file", 2)
        return WantedData(place, what)
    mode = path.stat().st_mode if path.exists() else 0
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        told = f"{folders.shown(path)} is neither a file nor a folder"
        raise exits.CliError(f"--data {told}", exits.USAGE)
    return WantedData(place, what, path)


def checked(spec: Document, datasets: Sequence[WantedData]) -> Sequence[WantedData]:
    """The same; refuses now what the node would refuse once all had been stored. CliError."""
    from swarmnode.errors import SpecError
    from swarmnode.tasks.spec_load import spec_from_dict

    stand_in = task_inputs.some_cap()
    asked = {one.place: one.what if one.what.startswith("swarm:") else stand_in for one in datasets}
    try:
        spec_from_dict({"run": ["true"], "data": asked})
    except SpecError as error:
        raise exits.CliError(f"the task spec is wrong: {error}", exits.USAGE) from error
    for one in datasets:
        if one.path is not None:
            task_inputs.check_kept(one.path)
    if datasets:
        spec["data"] = asked
    return datasets


def refuse_unknown(client: Client, datasets: Sequence[WantedData]) -> None:
    """A name that is none of ours, before anything is built or sent for it. Raises CliError."""
    for one in datasets:
        if one.path is None:
            _cap_of(client, one)


def resolve(client: Client, spec: Document, datasets: Sequence[WantedData]) -> None:
    """Into the pool with what is not there; the capabilities into the spec. Raises CliError."""
    if datasets:
        spec["data"] = {one.place: _cap_of(client, one) for one in datasets}


def _cap_of(client: Client, one: WantedData) -> str:
    if one.what.startswith("swarm:"):
        return one.what
    if one.path is not None:
        name = folders.base_name(one.path)
        return task_inputs.put_once(client, name, one.path)
    rows = client.get("/api/v1/objects")
    caps = [str(row["cap"]) for row in rows if row["name"] == one.what]
    if len(caps) == 1:
        return caps[0]
    if caps:
        told = f"{len(caps)} objects of yours are called that: give one's capability"
    else:
        told = "there is no such file here, and no object of yours is called that"
        if near := meant(one.what, [*_names_here(), *(str(row["name"]) for row in rows)]):
            told += f": did you mean {near}?"
    raise exits.CliError(f"--data {folders.shown(one.what)}: {told} (swarmnode obj ls)", 2)


def _names_here() -> list[str]:
    try:
        return os.listdir()
    except OSError:  # a folder that may not be read: the pool's names are left
        return []
