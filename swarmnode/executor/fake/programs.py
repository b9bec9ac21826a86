"""What the jobs of a FakeExecutor can run: generators that yield how many seconds they sleep.

What a program returns is its exit code. Everything it does lies between two sleeps.
"""

import json
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import NamedTuple

from swarmnode.executor.port import JobId
from swarmnode.tree.format import EntryKind

CHECKPOINT_FOLDER = "checkpoint"
_STEP = re.compile(rf"{CHECKPOINT_FOLDER}/(?:.*-)?(\d+)/state\.json")
_BASE_MEMORY_BYTES = 1 << 20

Run = Generator[float, None, int]
Program = Callable[["Process", Sequence[str]], Run]


class File(NamedTuple):
    """A file in memory."""

    data: bytes
    modified_ns: int
    kind: EntryKind = EntryKind.FILE
    mode: int = 0o644
    in_place: bool = False
    """It was written under its final name, where it may have been seen half full."""


class Process:
    """What a program sees: its arguments, files, logs and the time."""

    def __init__(self, job: JobId) -> None:
        self.job = job
        self.argv: Sequence[str] = ()
        self.env: Mapping[str, str] = {}
        self.net: Sequence[str] = ()
        """What it may talk to; there is nobody."""
        self.files: dict[str, File] = {}
        """By name from the work folder down."""
        self.logs = {"stdout": bytearray(), "stderr": bytearray()}
        self.now_ns = 0
        """The time on the wall at its present step."""
        self.memory_bytes = _BASE_MEMORY_BYTES
        """What it takes, as it says; above its limit it is ended."""
        self.ignores_term = False
        """It goes on after SIGTERM, until it is killed."""

    def say(self, text: str, stream: str = "stdout") -> None:
        """Write one line."""
        self.log(stream).extend(text.encode() + b"\n")

    def log(self, stream: str) -> bytearray:
        """Raises ValueError for anything but stdout and stderr."""
        if stream not in self.logs:
            raise ValueError(f"{stream!r} is not one of {tuple(self.logs)}")
        return self.logs[stream]

    def write(
        self, name: str, data: bytes, now_ns: int | None = None, *, in_place: bool = False
    ) -> None:
        """Write a whole file, and rename it into its place unless `in_place`."""
        written_ns = self.now_ns if now_ns is None else now_ns
        self.files[name] = File(data, written_ns, in_place=in_place)

    def disk_use(self) -> int:
        """Bytes in the work folder."""
        return sum(len(file.data) for file in self.files.values())


def _sleep(_process: Process, arguments: Sequence[str]) -> Run:
    yield float(arguments[0])
    return 0


def _stubborn(process: Process, arguments: Sequence[str]) -> Run:
    """As sleep, and SIGTERM does not end it."""
    process.ignores_term = True
    yield float(arguments[0])
    return 0


def _echo(process: Process, arguments: Sequence[str]) -> Run:
    process.say(" ".join(arguments))
    yield 0.0
    return 0


def _exit(_process: Process, arguments: Sequence[str]) -> Run:
    yield 0.0
    return int(arguments[0])


def _write(process: Process, arguments: Sequence[str]) -> Run:
    """write NAME TEXT"""
    name, text = arguments
    process.write(name, text.encode())
    yield 0.0
    return 0


def _copy(process: Process, arguments: Sequence[str]) -> Run:
    """copy FROM TO: an input becomes an output."""
    source, target = arguments
    yield 0.0
    if source not in process.files:
        process.say(f"{source}: no such file", "stderr")
        return 1
    process.write(target, process.files[source].data)
    return 0


def _allocate(process: Process, arguments: Sequence[str]) -> Run:
    """allocate BYTES SECONDS"""
    process.memory_bytes = int(arguments[0])
    yield float(arguments[1])
    return 0


def _train(process: Process, arguments: Sequence[str]) -> Run:
    """train STEPS SECONDS_PER_STEP EVERY: what swarmnode.demo.trainee does, without a processor."""
    steps, seconds, every = int(arguments[0]), float(arguments[1]), int(arguments[2])
    first, total = _restored(process)
    process.say(json.dumps({"first_step": first}))
    for step in range(first + 1, steps + 1):
        yield seconds
        total += step
        process.say(json.dumps({"step": step}))
        if step % every == 0:
            state = json.dumps({"step": step, "total": total}).encode()
            process.write(f"{CHECKPOINT_FOLDER}/step-{step}/state.json", state)
    process.say(json.dumps({"total": total}))
    process.write("result.json", json.dumps({"total": total}).encode())
    return 0


def _restored(process: Process) -> tuple[int, int]:
    """Step and sum of the newest checkpoint in the work folder, zeros without one."""
    steps = {int(m[1]): name for name in process.files if (m := _STEP.fullmatch(name))}
    if not steps:
        return 0, 0
    state = json.loads(process.files[steps[max(steps)]].data)
    return int(state["step"]), int(state["total"])


def not_found(process: Process, _arguments: Sequence[str]) -> Run:
    """What an unknown name does."""
    process.say(f"swarm: {process.argv[0]}: No such file or directory", "stderr")
    yield 0.0
    return 127


PROGRAMS: Mapping[str, Program] = {
    "sleep": _sleep,
    "stubborn": _stubborn,
    "echo": _echo,
    "exit": _exit,
    "write": _write,
    "copy": _copy,
    "allocate": _allocate,
    "train": _train,
}
