"""A person's tasks as they rest once they have ended: with sealed capabilities and secrets.

Until then the node itself needs what the task reads, also after a restart with nobody logged in.
"""

import base64
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from p2p.wire.codec import encode
from storage.engine.port import Tables, WriteView
from storage.engine.stored import stored
from storage.errors import CapabilityError
from storage.facade import ReadCap
from storage.manifests.capability import parse_kept, text_of_cap
from swarmnode.limits import TASK_RECORD_BYTES_MAX
from swarmnode.people.seals import Seals
from swarmnode.tasks.checkpoint import StoredFile
from swarmnode.tasks.lifecycle import TASK_ENDS
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.secrets.hidden import SEALED, looks_secret
from swarmnode.tasks.spec import TaskSpec
from swarmnode.tasks.store import TASKS, scan_all

OnText = Callable[[str], str]


def at_rest(seals: Seals, record: TaskRecord) -> TaskRecord:
    """The record as it is to be written.

    A task of another machine goes back to that one, whose people have keys of their own, and
    perhaps the same names as ours.
    """
    person = "" if record.submitter else record.person
    if not person or record.state not in TASK_ENDS or not seals.has_key(person):
        return record
    seal_cap = partial(_sealed_cap, seals, person)
    spec = _with_texts(record.spec, seal_cap, partial(_sealed_variable, seals, record))
    made: TaskRecord = _with_caps(msgspec.structs.replace(record, spec=spec), seal_cap)
    return made


def spec_in_clear(seals: Seals, record: TaskRecord) -> TaskSpec:
    """What was submitted. Raises PersonLockedError."""

    def open_cap(text: str) -> str:
        return text_of_cap(seals.open_cap(record.person, parse_kept(text)))

    return _with_texts(record.spec, open_cap, partial(_opened_variable, seals, record))


def _with_texts(spec: TaskSpec, cap: OnText, variable: Callable[[str, str], str]) -> TaskSpec:
    """With its capabilities and variables changed; the latter by name and value."""
    return msgspec.structs.replace(
        spec,
        inputs=tuple((place, cap(text)) for place, text in spec.inputs),
        variables=tuple((name, variable(name, value)) for name, value in spec.variables),
    )


def _sealed_cap(seals: Seals, person: str, text: str) -> str:
    try:
        cap = parse_kept(text)
    except CapabilityError:  # its provider made it up: nothing of ours
        return text
    return text_of_cap(ReadCap(cap.address, seals.seal_key(person, cap.address, cap.key)))


def _sealed_variable(seals: Seals, record: TaskRecord, name: str, value: str) -> str:
    if value.startswith(SEALED) or not looks_secret(name, value):
        return value
    box = seals.seal(record.person, _bound(record, name), value.encode())
    return SEALED + base64.b64encode(box).decode()


def _opened_variable(seals: Seals, record: TaskRecord, name: str, value: str) -> str:
    """Raises PersonLockedError."""
    if not value.startswith(SEALED):
        return value
    try:
        box = base64.b64decode(value.removeprefix(SEALED), validate=True)
    except ValueError:  # somebody chose these words
        return value
    return seals.open(record.person, _bound(record, name), box).decode()


async def seal_ended(seals: Seals, tables: Tables, person: str) -> int:
    """Seal the tasks of a person that rest in clear; how many were. Raises StoreFullError."""
    changed: list[tuple[bytes, bytes, bytes]] = []
    for key, value in scan_all(tables, TASKS):
        record = stored(TaskRecord, value, "state.lmdb", TASK_RECORD_BYTES_MAX)
        if record.person == person and (made := at_rest(seals, record)) != record:
            changed.append((key, value, encode(made)))

    def write(view: WriteView) -> None:
        for key, before, after in changed:
            if view.get(TASKS, key) == before:  # whoever wrote it since has sealed it
                view.put(TASKS, key, after)

    if changed:
        await tables.transact(write)
    return len(changed)


def _with_caps(value: Any, cap: OnText) -> Any:  # noqa: ANN401  (any part of a record)
    """The same with the capability of every stored file changed, wherever it stands."""
    match value:
        case StoredFile():
            return msgspec.structs.replace(value, cap=cap(value.cap))
        case msgspec.Struct():
            names = value.__struct_fields__
            parts = {name: _with_caps(getattr(value, name), cap) for name in names}
            return msgspec.structs.replace(value, **parts)
        case tuple():
            return tuple(_with_caps(part, cap) for part in value)
    return value


def _bound(record: TaskRecord, name: str) -> bytes:
    return f"variable {record.task} {name}".encode()
