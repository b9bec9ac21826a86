"""The task's end of the conversation, over a real socket and by hand."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pytest
import trio

from swarmnode.sdk import ctx as ctx_source

T = TypeVar("T")
SOURCE = Path(ctx_source.__file__)
Answer = Callable[[dict[str, Any]], dict[str, Any]]


MADE: list[ModuleType] = []


def fresh_ctx() -> ModuleType:
    """The module as a task imports it: read anew, so that it sees the environment of now."""
    found = importlib.util.spec_from_file_location("swarm_ctx", SOURCE)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    MADE.append(module)
    return module


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A work folder, and no socket yet."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.setenv("SWARM_WORK", str(folder))
    monkeypatch.setenv("SWARM_TASK", "a" * 16)
    monkeypatch.setenv("SWARM_ATTEMPT", "3")
    monkeypatch.delenv("SWARM_CTX", raising=False)
    yield folder
    while MADE:
        MADE.pop()._node._drop()  # what the end of the task's process does


@pytest.fixture
def local(work: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`ctx` as somebody who tries a program by hand has it."""
    monkeypatch.setenv("SWARM_CTX", "local")
    return fresh_ctx()


class Node:
    """The other end of the socket: answers as it is told, and remembers what it was asked."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self.path = path
        self.answer = answer
        self.asked: list[dict[str, Any]] = []
        self.connections = 0
        self.answers_until_drop = -1
        """Connections are cut instead of answering, once so many answers were given."""

    async def converse(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        async with stream:
            while len(head := await self._exactly(stream, 4)) == 4:
                self.asked.append(json.loads(await self._exactly(stream, int.from_bytes(head))))
                if self.answers_until_drop == 0:
                    self.answers_until_drop = -1
                    return
                self.answers_until_drop -= 1
                reply = json.dumps(self.answer(self.asked[-1])).encode()
                await stream.send_all(len(reply).to_bytes(4) + reply)

    async def _exactly(self, stream: trio.SocketStream, count: int) -> bytes:
        data = b""
        while len(data) < count and (piece := await stream.receive_some(count - len(data))):
            data += piece
        return data

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        sock = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
        await sock.bind(str(self.path))
        sock.listen(8)
        task_status.started()
        await trio.serve_listeners(self.converse, [trio.SocketListener(sock)])


@asynccontextmanager
async def node_at(place: Path, answer: Answer) -> AsyncIterator[Node]:
    node = Node(place, answer)
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        with trio.fail_after(30):
            yield node
        nursery.cancel_scope.cancel()


async def in_task(work: Callable[[], T]) -> T:
    """Run blocking code of the task."""
    return await trio.to_thread.run_sync(work)


def say_ok(_request: dict[str, Any]) -> dict[str, Any]:
    return {"ok": True}


@pytest.fixture
def place(work: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the node listens; longer than a socket's own path may be."""
    folder = work.parent / ("x" * 100)
    folder.mkdir()
    monkeypatch.setenv("SWARM_CTX", str(folder / "ctx.sock"))
    short = work.parent / "s"
    short.symlink_to(folder)
    return short / "ctx.sock"


# -- with a node


async def test_a_checkpoint_is_whole_before_the_node_hears_of_it(work: Path, place: Path) -> None:
    seen: list[list[str]] = []

    def look(_request: dict[str, Any]) -> dict[str, Any]:
        seen.append(sorted(str(p.relative_to(work)) for p in work.rglob("*") if p.is_file()))
        return {"ok": True}

    async with node_at(place, look) as node:
        ctx = fresh_ctx()
        await in_task(partial(ctx.checkpoint, 5, {"model/a.bin": b"a", "b.bin": b"b"}))
    assert seen == [["checkpoint/step-5/b.bin", "checkpoint/step-5/model/a.bin"]]
    assert node.asked == [{"op": "checkpoint", "step": 5, "name": "step-5", "wait": False}]


async def test_two_checkpoints_are_left_here(work: Path, place: Path) -> None:
    async with node_at(place, say_ok):
        ctx = fresh_ctx()
        for step in (1, 2, 3):
            await in_task(partial(ctx.checkpoint, step, {"m": b"%d" % step}))
    assert sorted(path.name for path in (work / "checkpoint").iterdir()) == ["step-2", "step-3"]
    assert ctx.restore().step == 3


async def test_without_files_the_folder_itself_is_kept_and_waited_for(
    work: Path, place: Path
) -> None:
    async with node_at(place, say_ok) as node:
        ctx = fresh_ctx()
        await in_task(partial(ctx.checkpoint, 9))
    assert node.asked == [{"op": "checkpoint", "step": 9, "name": "", "wait": True}]
    assert ctx.restore() == (9, work / "checkpoint")


async def test_state_carries_bytes_and_json(place: Path) -> None:
    held: dict[str, Any] = {}

    def keep(request: dict[str, Any]) -> dict[str, Any]:
        if request["op"] == "state_get":
            return {"ok": True, "value": held.get(request["key"])}
        held[request["key"]] = request["value"]
        return {"ok": True}

    async with node_at(place, keep):
        ctx = fresh_ctx()
        for value in (b"\x00\xff", {"loss": 0.5}, None, [1, "two"]):
            await in_task(partial(ctx.state.put, "k", value))
            assert await in_task(partial(ctx.state.get, "k", "nothing")) == value
        assert await in_task(partial(ctx.state.get, "other", "nothing")) == "nothing"


async def test_a_node_that_restarts_is_waited_for(place: Path) -> None:
    async with node_at(place, say_ok) as node:
        ctx = fresh_ctx()
        await in_task(partial(ctx.state.put, "k", 1))
        node.answers_until_drop = 0
        await in_task(partial(ctx.state.put, "k", 2))
    assert len(node.asked) == 3


async def test_a_compare_and_set_whose_answer_was_lost_looks_what_is_there(place: Path) -> None:
    held: dict[str, Any] = {}

    def node_says(request: dict[str, Any]) -> dict[str, Any]:
        if request["op"] == "state_get":
            return {"ok": True, "value": held.get("k")}
        if held.get("k") != request["expected"]:
            return {"ok": True, "done": False}
        held["k"] = request["value"]
        return {"ok": True, "done": True}

    async with node_at(place, node_says) as node:
        ctx = fresh_ctx()
        assert await in_task(partial(ctx.state.compare_and_set, "k", None, 1)) is True
        node.answers_until_drop = 0
        held["k"] = {"json": 2}  # as if the request had been done before the node went away
        assert await in_task(partial(ctx.state.compare_and_set, "k", 1, 2)) is True
        assert await in_task(partial(ctx.state.compare_and_set, "k", 1, 3)) is False


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("stale", "StaleAttemptError"),
        ("unavailable", "UnavailableError"),
        ("bad_request", "ValueError"),
    ],
)
async def test_refusals_are_errors_with_the_node_s_words(
    place: Path, code: str, error: str
) -> None:
    async with node_at(place, lambda _request: {"error": code, "message": "because"}):
        ctx = fresh_ctx()
        with pytest.raises(getattr(ctx, error, ValueError), match="because"):
            await in_task(partial(ctx.state.put, "k", 1))
    assert ctx.should_stop() is (code == "stale")


async def test_threads_of_a_task_share_one_connection(place: Path) -> None:
    async with node_at(place, say_ok) as node:
        ctx = fresh_ctx()

        def many() -> None:
            threads = [threading.Thread(target=ctx.state.put, args=(f"k{n}", n)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        await in_task(many)
    assert sorted(request["key"] for request in node.asked) == [f"k{n}" for n in range(8)]
    assert node.connections == 1


def test_a_value_too_large_for_a_request_names_the_remedy(place: Path) -> None:
    with pytest.raises(ValueError, match="make a checkpoint"):
        fresh_ctx().state.put("k", "x" * 2_000_000)


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a/../b", "a//b"])
def test_names_stay_inside_the_checkpoint(place: Path, name: str) -> None:
    with pytest.raises(ValueError, match="relative"):
        fresh_ctx().checkpoint(1, {name: b""})


def test_a_program_that_is_no_task_is_told_what_to_do(work: Path) -> None:
    with pytest.raises(RuntimeError, match="SWARM_CTX=local"):
        fresh_ctx().checkpoint(1, {})


def test_task_and_attempt_are_known(local: ModuleType) -> None:
    assert (local.task_id, local.attempt) == ("a" * 16, 3)


# -- by hand


def test_by_hand_checkpoints_rest_in_the_folder(local: ModuleType, work: Path) -> None:
    assert local.restore() is None
    local.checkpoint(1, {"model": b"one"})
    local.checkpoint(2, {"model": b"two"}, wait=True)
    restored = local.restore()
    assert restored.step == 2
    assert (restored.folder / "model").read_bytes() == b"two"


def test_by_hand_a_step_taken_again_replaces_the_first(local: ModuleType) -> None:
    local.checkpoint(1, {"old": b""})
    local.checkpoint(1, {"new": b""})
    assert [path.name for path in local.restore().folder.iterdir()] == ["new"]


def test_by_hand_state_rests_in_the_folder(local: ModuleType) -> None:
    assert local.state.get("k", "nothing") == "nothing"
    local.state.put("k", {"n": 1})
    assert local.state.compare_and_set("k", {"n": 2}, {"n": 3}) is False
    assert local.state.compare_and_set("k", {"n": 1}, b"three") is True
    assert local.state.get("k") == b"three"
    assert local.state.compare_and_set("new", None, 1) is True


# -- SIGTERM

_LOOP = """
import sys, time
sys.path.insert(0, {folder!r})
import ctx
ctx.should_stop()
print("ready", flush=True)
while not ctx.should_stop():
    time.sleep(0.01)
ctx.checkpoint(7, {{"m": b"saved"}})
print("saved", flush=True)
"""


def test_a_task_that_asks_in_time_saves_its_work_on_sigterm(work: Path) -> None:
    program = _LOOP.format(folder=str(SOURCE.parent))
    environment = {**os.environ, "SWARM_CTX": "local"}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE
    ) as task:
        assert task.stdout is not None
        assert task.stdout.readline() == b"ready\n"
        task.send_signal(signal.SIGTERM)
        said, _ = task.communicate(timeout=30)
        assert (task.returncode, said) == (0, b"saved\n")
    assert (work / "checkpoint/step-7/m").read_bytes() == b"saved"


def test_the_file_needs_nothing_but_the_standard_library(work: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-I", "-S", str(SOURCE)], capture_output=True, timeout=30, check=False
    )
    assert (found.returncode, found.stderr) == (0, b"")
