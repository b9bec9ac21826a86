"""A real task talks to its node: through the socket in its sandbox, across a restart, bounded."""

import json
import socket
import threading
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from p2p.workers import ThreadWorkers
from swarmnode.executor import ctx_server
from swarmnode.executor.job_folder import JobFolder
from swarmnode.executor.port import JobExit, JobId
from swarmnode.executor.process import ProcessExecutor
from swarmnode.executor.sandbox.capability import ExecutorConfig
from swarmnode.limits import CTX_REQUEST_BYTES_MAX
from swarmnode.sdk import ctx
from tests.job_lab import MIB, PYTHON, needs_bwrap, needs_python, run_job, running_executor, spec

pytestmark = [needs_bwrap, needs_python]
JOB = JobId("abc.3")


class Answers:
    """Remembers what was asked, and says where it comes from."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked: list[tuple[JobId, dict[str, object]]] = []

    async def __call__(self, job: JobId, request: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        self.asked.append((job, json.loads(request)))
        return json.dumps({"value": {"json": self.name}}).encode()


async def ran(folder: Path, answers: Answers, script: str) -> tuple[JobExit, str, str]:
    """How the job ended that the script is, and what it printed."""
    async with running_executor(folder / "x", ctx_module=Path(ctx.__file__)) as executor:
        executor.on_call(answers)
        return await run_job(executor, spec(JOB, PYTHON, "-c", script))


def executor_in(folder: Path, answers: Answers) -> ProcessExecutor:
    config = ExecutorConfig(ctx_module=Path(ctx.__file__))
    executor = ProcessExecutor(folder / "x", config, {}, ThreadWorkers())
    executor.on_call(answers)
    return executor


async def test_a_task_asks_its_node_and_knows_its_name(tmp_path: Path) -> None:
    script = (
        "import swarm_ctx as ctx\n"
        "print(ctx.task_id, ctx.attempt, ctx.state.get('key'), ctx.should_stop())\n"
    )
    answers = Answers("here")
    _, out, err = await ran(tmp_path, answers, script)
    assert out == "abc 3 here False\n", err
    assert answers.asked == [(JOB, {"op": "state_get", "key": "key"})]


async def nothing() -> AsyncIterator[bytes]:
    """The stream of an empty file."""
    yield b""


async def test_a_task_waits_for_a_node_that_restarts(tmp_path: Path) -> None:
    script = (
        "import swarm_ctx as ctx, os, time\n"
        "print(ctx.state.get('a'), flush=True)\n"
        "while not os.path.exists('/work/go'): time.sleep(0.01)\n"
        "print(ctx.state.get('b'), flush=True)\n"
    )
    first, second = Answers("first"), Answers("second")
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            executor = executor_in(tmp_path, first)
            await nursery.start(executor.run)
            if executor.trouble():
                pytest.skip(executor.trouble())
            await executor.prepare(JOB)
            await executor.start(spec(JOB, PYTHON, "-c", script))
            await executor.log_grew(JOB, "stdout", 0)
            nursery.cancel_scope.cancel()
        async with trio.open_nursery() as nursery:
            executor = executor_in(tmp_path, second)
            await nursery.start(executor.run)
            await executor.put_file(JOB, "go", nothing())
            ended = await executor.wait(JOB)
            out = await executor.read_log(JOB, "stdout", 0, MIB)
            await executor.sweep(frozenset())
            nursery.cancel_scope.cancel()
    assert (ended.code, out) == (0, b"first\nsecond\n")


async def test_a_task_that_does_not_keep_to_the_form_loses_its_connection_only(
    tmp_path: Path,
) -> None:
    script = (
        "import os, socket\n"
        "def talk(data):\n"
        "    s = socket.socket(socket.AF_UNIX)\n"
        "    s.connect(os.environ['SWARM_CTX'])\n"
        "    s.sendall(data)\n"
        "    s.shutdown(socket.SHUT_WR)\n"
        "    return s.recv(99)\n"
        f"print(talk(({CTX_REQUEST_BYTES_MAX} + 1).to_bytes(4, 'big')))\n"
        "print(talk(b'\\xff'))\n"
        "print(talk((9).to_bytes(4, 'big') + b'short'))\n"
        "print(talk((2).to_bytes(4, 'big') + b'{}')[4:])\n"
    )
    _, out, err = await ran(tmp_path, Answers("here"), script)
    assert out.splitlines() == [
        "b''",
        "b''",
        "b''",
        repr(b'{"value": {"json": "here"}}'),
    ], err


def test_a_socket_that_is_taken_over_refuses_nobody(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "job")
    folder.make()
    socks = deque([ctx_server.listening(folder, 0)])
    is_over, faults = threading.Event(), list[OSError]()

    def connect() -> None:
        while not is_over.is_set():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.setblocking(False)
                try:
                    sock.connect(str(folder.ctx / ctx_server.SOCKET))
                except BlockingIOError:
                    pass  # as many wait as may: nobody accepts them here
                except OSError as fault:
                    faults.append(fault)

    task = threading.Thread(target=connect)
    task.start()
    for _ in range(300):
        socks.append(ctx_server.listening(folder, 0))
    is_over.set()
    task.join()
    for sock in socks:
        sock.close()
    assert faults == []
