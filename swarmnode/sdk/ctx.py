"""What a task may ask of the swarm: `import swarm_ctx as ctx`, inside a task's sandbox.

    restored = ctx.restore()                    # None, or .step and .folder of the newest one
    ctx.checkpoint(step, {"model.bin": data})   # kept by the pool, even if this machine dies
    if ctx.should_stop(): ...                   # the machine's owner wants it back: finish soon
    ctx.state.put("best", {"loss": 0.1})        # small values that outlive task and machine

One file, standard library only, any Python from 3.8. The node may restart at any moment: calls
wait up to a minute for it. To try a program by hand, set SWARM_CTX=local: checkpoints and state
then rest in the current folder.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Checkpoint", "OutsideSwarmError", "StaleAttemptError", "UnavailableError", "attempt",
    "checkpoint", "restore", "should_stop", "state", "task_id",
]  # fmt: skip

Value = Any
"""bytes, or anything JSON can say."""

RECONNECT_S = 60.0
"""A node is back within seconds of a crash or an upgrade; a minute is a generous bound."""
REQUEST_BYTES_MAX = 1024 * 1024
KEPT_HERE = 2
"""Older checkpoints of ours are removed from this machine; the pool keeps its own copies."""
FOLDER = "checkpoint"
_MARKER = "step.json"
_NUMBER = re.compile(r"(\d+)$")


class OutsideSwarmError(RuntimeError):
    """This program does not run as a task: set SWARM_CTX=local to try it by hand."""


class StaleAttemptError(RuntimeError):
    """The task runs elsewhere by now, as a newer attempt: this one must end."""


class UnavailableError(RuntimeError):
    """The node or too much of the pool is away just now: try again later, or do without."""


class Checkpoint(NamedTuple):
    """The newest checkpoint in this task's work folder."""

    step: int
    folder: Path


task_id: str = os.environ.get("SWARM_TASK", "local")
attempt: int = int(os.environ.get("SWARM_ATTEMPT") or 0)
"""The fence: grows whenever the task moves to another machine."""


def checkpoint(step: int, files: Mapping[str, bytes] | None = None, *, wait: bool = False) -> None:
    """Keep `files` as the state after `step`; complete or not at all.

    Returns once they are staged here and the node was told; with `wait`, once the pool keeps
    them. Without `files`, everything the program itself wrote under `checkpoint/` is kept, and
    this always waits, so that the program does not change it meanwhile.
    Raises UnavailableError, StaleAttemptError, ValueError (a bad name).
    """
    _place()
    folder = _work() / FOLDER
    folder.mkdir(exist_ok=True)
    if files is None:
        _write_whole(folder / _MARKER, json.dumps({"step": step}).encode())
        _tell_node({"op": "checkpoint", "step": step, "name": "", "wait": True})
        return
    name = f"step-{step}"
    _put_whole(folder, name, files)
    for old in _steps_in(folder)[KEPT_HERE:]:
        if old.folder.name == f"step-{old.step}":  # what we made, never the program's own
            _remove(old.folder)
    _tell_node({"op": "checkpoint", "step": step, "name": name, "wait": wait})


def _put_whole(folder: Path, name: str, files: Mapping[str, bytes]) -> None:
    """In place of an older folder of that name, once all of it is there."""
    staged = folder / f".{name}.tmp"
    _remove(staged)
    staged.mkdir()
    for file_name, data in files.items():
        path = staged / _checked(file_name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    _remove(folder / name)
    staged.rename(folder / name)


def restore() -> Checkpoint | None:
    """The newest checkpoint here, put here by the node or left by an earlier process."""
    _place()
    folder = _work() / FOLDER
    checkpoints = _steps_in(folder) if folder.is_dir() else []
    try:
        step = int(json.loads((folder / _MARKER).read_bytes())["step"])
        checkpoints.append(Checkpoint(step, folder))
    except FileNotFoundError:
        pass
    return max(checkpoints, default=None, key=lambda kept: kept.step)


def should_stop() -> bool:
    """Whether this attempt should checkpoint and end: SIGTERM came, or a newer attempt runs.

    The first call (from the main thread) begins to catch SIGTERM, which would otherwise end the
    program at once.
    """
    return _stop.asked()


class _Stop:
    def __init__(self) -> None:
        self.stale = False
        self._caught = False
        self._watching = False

    def asked(self) -> bool:
        if not self._watching and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_signal)
            self._watching = True
        return self._caught or self.stale

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._caught = True


class _State:
    """Small values of the task by key: bytes or anything JSON can say. Fenced by the attempt."""

    def get(self, key: str, default: Value = None) -> Value:
        """The present value, or `default`. Raises UnavailableError."""
        if _place() == "local":
            return _local_get(key, default)
        reply = _node.call({"op": "state_get", "key": key})
        return _unpacked(reply["value"]) if reply.get("value") is not None else default

    def put(self, key: str, value: Value) -> None:
        """Set the value whatever it was. Raises UnavailableError, StaleAttemptError."""
        if _place() == "local":
            _local_put(key, value)
            return
        _node.call({"op": "state_put", "key": key, "value": _packed(value)})

    def compare_and_set(self, key: str, expected: Value | None, value: Value) -> bool:
        """Set the value if it is `expected` (None: not set yet); False if it is not."""
        if _place() == "local":
            if _local_get(key, None) != expected:
                return False
            _local_put(key, value)
            return True
        was = None if expected is None else _packed(expected)
        request = {"op": "state_cas", "key": key, "expected": was, "value": _packed(value)}
        reply = _node.call(request)
        if not reply["done"] and reply.get("again"):
            # The connection broke between request and answer: ours may be what is there now.
            return bool(self.get(key) == value)
        return bool(reply["done"])


class _Node:
    """The connection to the node, made anew whenever it breaks and after a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._owner = 0

    def call(self, request: Mapping[str, object]) -> dict[str, Value]:
        body = json.dumps(request).encode()
        if len(body) > REQUEST_BYTES_MAX:
            raise ValueError(f"{len(body)} bytes are too many for one value: make a checkpoint")
        with self._lock:
            answer, was_broken = self._exchange(body)
        reply: dict[str, Value] = json.loads(answer)
        if was_broken:
            reply["again"] = True
        self._raise_error(reply)
        return reply

    def _exchange(self, body: bytes) -> tuple[bytes, bool]:
        """The answer, and whether the request may have reached the node twice."""
        give_up = time.monotonic() + RECONNECT_S
        broken = False
        while True:
            try:
                answer = self._try(body)
            except OSError as exc:
                broken = broken or self._socket is not None
                self._drop()
                if time.monotonic() > give_up:
                    raise UnavailableError(f"the node did not come back: {exc}") from exc
                time.sleep(0.1)
            else:
                return answer, broken

    def _try(self, body: bytes) -> bytes:
        if self._socket is None or self._owner != os.getpid():
            self._socket, self._owner = _connect(_place()), os.getpid()
        self._socket.sendall(len(body).to_bytes(4, "big") + body)
        length = int.from_bytes(self._read(4), "big")
        return self._read(length)

    def _read(self, count: int) -> bytes:
        assert self._socket is not None
        data = b""
        while len(data) < count:
            piece = self._socket.recv(count - len(data))
            if not piece:
                raise ConnectionResetError("the node closed the connection")
            data += piece
        return data

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _raise_error(self, reply: dict[str, Value]) -> None:
        error = reply.get("error")
        if error is None:
            return
        words = reply.get("message", error)
        if error == "stale":
            _stop.stale = True
            raise StaleAttemptError(words)
        raise (ValueError if error == "bad_request" else UnavailableError)(words)


def _connect(place: str) -> socket.socket:
    """By way of the folder's descriptor: a socket's own path may have 107 bytes only."""
    folder = os.open(os.path.dirname(place), os.O_RDONLY)
    try:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(f"/proc/self/fd/{folder}/{os.path.basename(place)}")
        except OSError:
            connection.close()
            raise
        return connection
    finally:
        os.close(folder)


def _place() -> str:
    """Path of the node's socket, or `local`. Raises OutsideSwarmError."""
    place = os.environ.get("SWARM_CTX", "")
    if not place:
        raise OutsideSwarmError(
            "this program does not run as a swarm task; set SWARM_CTX=local to try it by hand"
        )
    return place


def _work() -> Path:
    return Path(os.environ.get("SWARM_WORK") or ".")


def _tell_node(request: Mapping[str, object]) -> None:
    if _place() != "local":
        _node.call(request)


def _steps_in(folder: Path) -> list[Checkpoint]:
    """Whole entries whose name ends in a number, newest first."""
    steps = []
    for path in folder.iterdir():
        number = _NUMBER.search(path.name)
        if number and path.is_dir() and not path.name.startswith("."):
            steps.append(Checkpoint(int(number[1]), path))
    return sorted(steps, key=lambda kept: kept.step, reverse=True)


def _checked(name: str) -> str:
    if any(part in ("", ".", "..") or "\0" in part for part in name.split("/")):
        raise ValueError(f"{name!r}: names are relative, without `..` or empty parts")
    return name


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _write_whole(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data)
    temporary.replace(path)


def _packed(value: Value) -> dict[str, Value]:
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    return {"json": value}


def _unpacked(value: dict[str, Value]) -> Value:
    return base64.b64decode(value["bytes"]) if "bytes" in value else value["json"]


def _local_path(key: str) -> Path:
    folder = _work() / "swarm-state"
    folder.mkdir(exist_ok=True)
    return folder / (key.encode().hex() + ".json")


def _local_get(key: str, default: Value) -> Value:
    path = _local_path(key)
    return _unpacked(json.loads(path.read_bytes())) if path.exists() else default


def _local_put(key: str, value: Value) -> None:
    _write_whole(_local_path(key), json.dumps(_packed(value)).encode())


_stop = _Stop()
_node = _Node()
state = _State()
