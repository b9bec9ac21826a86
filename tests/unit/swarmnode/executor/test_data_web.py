"""A task reads its datasets by HTTP as well: on its own address, with or without a network."""

from pathlib import Path

import pytest
import trio

from p2p.ids import PeerId
from storage.manifests.capability import text_of_cap
from swarmnode.executor.port import JobId, JobSignal
from swarmnode.executor.shim.net.space import WEB_PORT
from swarmnode.tree.format import EntryKind, TreeEntry, write_index
from testnet.sim.memory_objects import MemoryObjects, Pool
from tests.data_lab import has_fuse, machine, needs_fuse_reason, numbered
from tests.executor_lab import pieces
from tests.job_lab import MIB, PYTHON, needs_bwrap, needs_python, run_job, spec

pytestmark = [
    needs_bwrap,
    needs_python,
    pytest.mark.skipif(not has_fuse(), reason=needs_fuse_reason),
]
SIZE = 3 * MIB
READ = """
import http.client, os, urllib.request
base = os.environ["SWARM_DATA_URL"]
def get(path, **headers):
    asked = urllib.request.Request(base + path, headers=headers)
    with urllib.request.urlopen(asked, timeout=20) as answer:
        return answer.status, answer.headers, answer.read()
data = open("/data/sub/file", "rb").read()
status, headers, part = get("/data/sub/file", Range="bytes=1000000-1999999")
print(status, headers["content-range"], part == data[1000000:2000000])
print(get("/data/sub/file")[2] == data, "file" in get("/data/sub")[2].decode())
line = http.client.HTTPConnection(base.removeprefix("http://"), timeout=20)
for method in ("HEAD", "GET", "HEAD"):
    line.request(method, "/data/sub/file")
    answer = line.getresponse()
    print(method, answer.status, answer.headers["content-length"], len(answer.read()))
line.request("POST", "/data/sub/file", body=b"x" * 100)
print(line.getresponse().status)
"""
SAID = """
206 bytes 1000000-1999999/3145728 True
True True
HEAD 200 3145728 0
GET 200 3145728 3145728
HEAD 200 3145728 0
405
"""


async def folder_in(objects: MemoryObjects) -> str:
    entries = (
        TreeEntry(b"", EntryKind.FOLDER, 0o755),
        TreeEntry(b"sub", EntryKind.FOLDER, 0o755),
        TreeEntry(b"sub/file", EntryKind.FILE, 0o644, SIZE),
    )
    data = write_index(entries) + numbered(0, SIZE)
    return text_of_cap((await objects.put(pieces(data))).cap)


@pytest.mark.parametrize("net", [(), ("pypi.org:443",)])
async def test_ranges_of_files_are_read_at_the_tasks_own_address(
    tmp_path: Path, net: tuple[str, ...]
) -> None:
    objects = MemoryObjects(Pool(), PeerId("alice"))
    cap = await folder_in(objects)
    async with machine(tmp_path, objects) as (executor, datasets):
        if net and (trouble := executor.net_trouble()):
            pytest.skip(trouble)
        data = await datasets.mounts(JobId("t.1"), [("/data", cap)])
        what = spec("t.1", PYTHON, "-c", READ, data=data, net=net)
        _, out, err = await run_job(executor, what)
    assert out.split() == SAID.split(), err


WAITS = """
import os, signal, urllib.request
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
url = os.environ["SWARM_DATA_URL"] + "/data/sub/file"
def get(): return len(urllib.request.urlopen(url, timeout=30).read())
print(get(), flush=True)
signal.sigwait([signal.SIGINT])
print(get(), flush=True)
"""


async def test_nobody_else_reaches_it_and_the_next_node_goes_on_with_it(tmp_path: Path) -> None:
    objects = MemoryObjects(Pool(), PeerId("alice"))
    cap, job = await folder_in(objects), JobId("t.1")
    async with machine(tmp_path, objects) as (executor, datasets):
        data = await datasets.mounts(job, [("/data", cap)])
        await executor.prepare(job)
        await executor.start(spec("t.1", PYTHON, "-c", WAITS, data=data))
        with trio.fail_after(20):
            while not await executor.read_log(job, "stdout", 0, MIB):  # noqa: ASYNC110
                await trio.sleep(0.02)
        with pytest.raises(OSError, match="failed"):
            await trio.open_tcp_stream("127.0.0.1", WEB_PORT)
    async with machine(tmp_path, objects) as (executor, _):
        assert executor.signal(job, JobSignal.INT)
        ended = await executor.wait(job)
        out = await executor.read_log(job, "stdout", 0, MIB)
    assert (ended.code, out.split()) == (0, [b"%d" % SIZE] * 2)
