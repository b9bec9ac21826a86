"""A node that is an ordinary user unpacks images and runs tasks in them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.job_lab import PYTHON, needs_bwrap, needs_python, needs_root
from tests.unit.swarmnode.executor.test_nonroot import NOBODY, ROOT, seen_by_everybody

SCRIPT = """
import json, sys
from pathlib import Path
import trio
from blake3 import blake3
from p2p.workers import ThreadWorkers
from swarmnode.executor.port import JobId, JobSpec
from swarmnode.executor.process import ProcessExecutor
from swarmnode.executor.sandbox.capability import ExecutorConfig
from swarmnode.tasks.environments.naming import IMAGE_COMMAND, image_lock
from tests.image_lab import H, Item, layer, programs, saved

def spec(job, argv, environment):
    return JobSpec(job=JobId(job), argv=argv, env={}, cpu_millis=1000, memory_bytes=256 << 20,
        pids_max=64, disk_bytes=1 << 30, wall_s=30.0, environment=environment)

async def once(data):
    yield data

async def ended(executor, what):
    await executor.start(what)
    code = (await executor.wait(what.job)).code
    logs = [await executor.read_log(what.job, name, 0, 4000) for name in ("stdout", "stderr")]
    return [code, *(log.decode() for log in logs)]

async def unpack(executor, job, path, digest):
    what = spec(job, IMAGE_COMMAND, "build:image")
    await executor.prepare(what.job)
    await executor.put_file(what.job, "env/.lock", once(image_lock(digest).encode()))
    await executor.put_file(what.job, "env/.image", once(path.read_bytes()))
    return await ended(executor, what)

async def main(folder):
    executor = ProcessExecutor(folder / "x", ExecutorConfig(), {}, ThreadWorkers())
    async with trio.open_nursery() as nursery:
        await nursery.start(executor.run)
        said = {"trouble": executor.trouble(), "names": executor.environments()}
        if not executor.trouble():
            good, evil = folder / "good.tar", folder / "evil.tar"
            digest = saved(good, [layer(*programs("sh", "cat", "rm"), Item("opt/a", b"hi"))])
            said["built"] = await unpack(executor, "b.1", good, digest)
            digest = saved(evil, [layer(Item("h", kind=H, to="../x"))])
            said["evil"] = await unpack(executor, "b.2", evil, digest)
            looked = await executor.scan(JobId("b.1"), (b"env",))
            pieces = executor.pack(JobId("b.1"), (b"env",), looked.found)
            tree = b"".join([piece async for piece in pieces])
            await executor.bringing.bring("@one", blake3(tree).digest(), once(tree))
            script = "cat /opt/a; echo x > /opt/a; cat /opt/a; echo y > /work/y && cat /work/y"
            script += "; echo z > /opt/b; rm /opt/a; cat /opt/b; echo p > /run/p && cat /run/p"
            for number in (1, 2):  # the second one sees nothing of the first
                what = spec(f"u.{number}", ("sh", "-c", script), "@one")
                await executor.prepare(what.job)
                said[f"used.{number}"] = await ended(executor, what)
        print(json.dumps(said))
        nursery.cancel_scope.cancel()

trio.run(main, Path(sys.argv[1]))
"""


@needs_bwrap
@needs_root
@needs_python
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) is missing")
def test_an_ordinary_user_unpacks_an_image_and_runs_tasks_in_it(open_path: Path) -> None:
    version = subprocess.run([PYTHON, "-V"], capture_output=True, text=True, check=True).stdout
    if version.split()[1].rsplit(".", 1)[0] != ".".join(map(str, sys.version_info[:2])):
        pytest.skip(f"{PYTHON} is {version.strip()}, the installed packages are for another one")
    home, code, packages = (open_path / name for name in ("home", "code", "packages"))
    home.mkdir()
    os.chown(home, int(NOBODY), int(NOBODY))
    ran = subprocess.run(
        [
            *seen_by_everybody({ROOT: code, Path(trio.__file__).parents[1]: packages}),
            "setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--inh-caps=-all",
            PYTHON, "-c", SCRIPT, str(home),
        ],
        capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{code}:{packages}"}, cwd="/",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    if said["trouble"]:
        pytest.skip(said["trouble"])
    assert "build:image" in said["names"]
    assert said["built"][0] == 0, said["built"]
    assert (said["evil"][0], "the image is refused: " in said["evil"][2]) == (65, True)
    for number in (1, 2):
        assert said[f"used.{number}"][:2] == [0, "hix\ny\nz\np\n"], said
