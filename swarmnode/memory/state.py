"""`ctx.state`: small values of a task by key, on mutable names, fenced by the attempt.

A value is what `ctx` packed, as canonical JSON, encrypted for the parties of the task. The names
belong to the task's key, which let this machine write them under this attempt's fence: once a newer
attempt has written a key, an older one cannot any more.
"""

import json
from collections.abc import Mapping

from storage.errors import NameConflictError, StaleFenceError
from storage.facade import OwnedNames
from swarmnode.errors import SupersededAttemptError
from swarmnode.limits import STATE_KEY_CHARS_MAX, STATE_RETRIES_MAX, STATE_VALUE_BYTES_MAX
from swarmnode.memory.sealed import StateSeal
from swarmnode.tasks.ids import TaskId


class StateConflictError(Exception):
    """Others write the same key all the time: try again later."""


class StateUnknownError(Exception):
    """The task has no state that its provider could reach."""


class CtxState:
    """The values of one attempt's task. All methods raise TooFewPeersError, ValueError."""

    def __init__(self, names: OwnedNames, seal: StateSeal, task: TaskId, fence: int) -> None:
        self._names, self._seal = names, seal
        self._task, self._fence = task, fence

    async def get(self, key: object) -> object:
        """The packed value, or None."""
        present, _ = await self._read(self._name(key))
        return json.loads(present) if present else None

    async def put(self, key: object, value: object) -> None:
        """Set the value whatever it was. Raises StaleAttemptError, StateConflictError."""
        name, packed = self._name(key), _packed(value)
        held = await self._names.read(name)
        sequence = held.sequence if held else 0
        for _ in range(STATE_RETRIES_MAX):
            try:
                await self._write(name, packed, sequence)
            except NameConflictError as conflict:
                sequence = conflict.sequence
            else:
                return
        raise StateConflictError(f"{key!r} is written by others all the time")

    async def compare_and_set(self, key: object, expected: object, value: object) -> bool:
        """Set the value if the packed present one is `expected` (None: not set yet).

        Raises StaleAttemptError, StateConflictError.
        """
        name, packed = self._name(key), _packed(value)
        wanted = b"" if expected is None else _packed(expected)
        present, sequence = await self._read(name)
        for _ in range(STATE_RETRIES_MAX):
            if present != wanted:
                return False
            try:
                await self._write(name, packed, sequence)
            except NameConflictError as conflict:
                sequence = conflict.sequence
                present = self._opened(name, sequence, conflict.value)
            else:
                return True
        raise StateConflictError(f"{key!r} is written by others all the time")

    async def _read(self, name: str) -> tuple[bytes, int]:
        """The packed value, empty where there is none, and its sequence."""
        held = await self._names.read(name)
        if held is None:
            return b"", 0
        return self._opened(name, held.sequence, held.value), held.sequence

    def _opened(self, name: str, sequence: int, sealed: bytes) -> bytes:
        return self._seal.open(name, sequence, sealed) if sealed else b""

    async def _write(self, name: str, packed: bytes, expected: int) -> None:
        sealed = self._seal.seal(name, expected + 1, packed)
        try:
            await self._names.write(name, sealed, expected=expected, fence=self._fence)
        except StaleFenceError as exc:
            raise SupersededAttemptError(f"a newer attempt of task {self._task} runs") from exc

    def _name(self, key: object) -> str:
        if not isinstance(key, str) or not 0 < len(key) <= STATE_KEY_CHARS_MAX:
            raise ValueError(f"a key is a text of 1 to {STATE_KEY_CHARS_MAX} characters")
        return self._seal.name(key)


def _packed(value: object) -> bytes:
    is_bytes = isinstance(value, Mapping) and isinstance(value.get("bytes"), str)
    if not is_bytes and not (isinstance(value, Mapping) and "json" in value):
        raise ValueError("a value is bytes or JSON")
    data = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    if len(data) > STATE_VALUE_BYTES_MAX:
        raise ValueError(
            f"{len(data)} bytes, limit {STATE_VALUE_BYTES_MAX}: make a checkpoint instead"
        )
    return data
