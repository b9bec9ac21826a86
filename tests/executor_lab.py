"""Every Executor as a contract test sees it: real jobs in a sandbox, and generators in memory."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from p2p.workers import ThreadWorkers
from swarmnode.executor.fake.executor import FakeExecutor
from swarmnode.executor.fake.programs import Process, Run
from swarmnode.executor.port import Executor, JobId, JobSpec
from swarmnode.executor.process import ProcessExecutor
from swarmnode.executor.sandbox.capability import ExecutorConfig

JOB = JobId("t.1")


@dataclass(frozen=True)
class Machine:
    """`node` runs an executor as a node does; a second one finds what the first one left."""

    node: Callable[[], AbstractAsyncContextManager[Executor]]
    argv: Callable[[str], tuple[str, ...]]
    """From the words of a fake program to what does the same here."""


def real_argv(words: str) -> tuple[str, ...]:
    name, *rest = words.split()
    script = {
        "sleep": "exec sleep $1",
        "stubborn": "trap '' TERM; sleep $1; sleep $1",
        "echo": 'echo "$@"',
        "exit": "exit $1",
        "write": 'mkdir -p "$(dirname $1)"; printf %s "$2" > $1',
        "copy": "cp $1 $2",
        "missing": "",
        "ticks": "i=0; while [ $i -lt $1 ]; do echo $i; i=$((i+1)); sleep 0.02; done; exit 7",
    }[name]
    return ("/bin/sh", "-c", script, name, *rest) if script else ("missing",)


def ticks(process: Process, arguments: Sequence[str]) -> Run:
    for tick in range(int(arguments[0])):
        process.say(str(tick))
        yield 0.02
    return 7


@asynccontextmanager
async def process_node(folder: Path) -> AsyncIterator[Executor]:
    executor = ProcessExecutor(folder, ExecutorConfig(), {}, ThreadWorkers())
    async with serving(executor):
        if trouble := executor.trouble():
            pytest.skip(trouble)
        yield executor


@asynccontextmanager
async def fake_node(fake: FakeExecutor) -> AsyncIterator[Executor]:
    async with serving(fake):
        yield fake


@asynccontextmanager
async def serving(executor: Executor) -> AsyncIterator[None]:
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(executor.run)
            yield
            nursery.cancel_scope.cancel()


async def start(executor: Executor, what: JobSpec) -> None:
    await executor.prepare(what.job)
    await executor.start(what)


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def broken() -> AsyncIterator[bytes]:
    yield b"half"
    raise ConnectionError("the holder went away")


async def read(executor: Executor, name: str) -> bytes:
    return b"".join([piece async for piece in executor.read_file(JOB, name)])
