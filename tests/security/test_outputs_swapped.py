"""A task that swaps its outputs for traps while they are read: no byte from elsewhere, no hang."""

import os
from pathlib import Path

import pytest
import trio

from swarmnode.errors import OutputUnsafeError
from swarmnode.executor.port import JobId
from swarmnode.executor.process import ProcessExecutor
from swarmnode.tree.pattern import Pattern
from tests.job_lab import MIB, PYTHON, needs_bwrap, needs_python, running_executor, spec

pytestmark = [needs_bwrap, needs_python]
JOB = JobId("t.1")
SECRET = b"of the machine"
SWAPS = """
import os, socket, sys
secret, aside = sys.argv[1], 0
def file(name): open(name, "wb").write(b"own" * 5000)
def hole(name): open(name, "wb").truncate(30 << 20)
def link(name): os.symlink(secret, name)
def up(name): os.symlink("/proc/self/root" + os.path.dirname(secret), name)
def pipe(name): os.mkfifo(name)
def door(name): socket.socket(socket.AF_UNIX).bind(name)
def folder(name): os.mkdir(name); file(name + "/secret")
os.mkdir("o")
for name in ("plain", "o/plain"): file(name)
print("ready", flush=True)
while True:
    for kind in (file, link, pipe, folder, up, door, hole, file):
        for name in ("f", "o/f", "o/secret"):
            kind("new")
            aside += 1
            if os.path.lexists(name): os.rename(name, f".{aside % 40}")
            os.rename("new", name)
            left = f".{(aside + 1) % 40}"
            if os.path.isdir(left) and not os.path.islink(left):
                os.unlink(left + "/secret"); os.rmdir(left)
            elif os.path.lexists(left): os.unlink(left)
"""


async def taken(executor: ProcessExecutor) -> bytes:
    """All of it, as often as it can be had."""
    _, chosen = await executor.select(JOB, [Pattern("f"), Pattern("o"), Pattern("plain")])
    got = b""
    for piece in chosen.pieces:
        name = b"/".join(piece.base).decode()
        try:
            chunks = executor.read_file(JOB, name)
            if piece.is_tree:
                chunks = executor.pack(JOB, piece.base, piece.found, may_grow=True)
            async for chunk in chunks:
                got += chunk.replace(b"\0", b"")
        except OutputUnsafeError:
            got += b"unsafe"
    return got


@pytest.mark.parametrize("rounds", [40])
async def test_outputs_that_are_swapped_while_they_are_read_are_the_tasks_own_or_none(
    tmp_path: Path, rounds: int
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    files = len(os.listdir("/proc/self/fd"))
    async with running_executor(tmp_path / "x") as executor:
        await executor.prepare(JOB)
        await executor.start(spec(JOB, PYTHON, "-c", SWAPS, str(secret), disk_bytes=64 * MIB))
        with trio.fail_after(20):
            while b"ready" not in await executor.read_log(JOB, "stdout", 0, 99):  # noqa: ASYNC110
                await trio.sleep(0.02)
        seen = b""
        with trio.fail_after(30):
            for _ in range(rounds):
                try:
                    seen += await taken(executor)
                except OutputUnsafeError:
                    seen += b"unsafe"
        await executor.stop(JOB, 0)
        assert SECRET not in seen
        assert b"own" in seen
    assert len(os.listdir("/proc/self/fd")) <= files + 2
