"""An ordinary user lends a machine: jobs run, and what cannot be limited is said."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio

from tests.job_lab import PYTHON, needs_bwrap, needs_python, needs_root

ROOT = Path(__file__).resolve().parents[4]
NOBODY = "65534"
SCRIPT = """
import json, sys, trio
from pathlib import Path
from p2p.workers import ThreadWorkers
from swarmnode.executor.sandbox.capability import ExecutorConfig
from swarmnode.executor.port import JobId, JobSpec
from swarmnode.executor.process import ProcessExecutor

def spec(job, script, **more):
    values = dict(job=JobId(job), argv=("/bin/sh", "-c", script), env={}, cpu_millis=1000,
        memory_bytes=64 << 20, pids_max=8, disk_bytes=4 << 20, wall_s=20.0)
    return JobSpec(**{**values, **more})

async def main(folder):
    executor = ProcessExecutor(Path(folder), ExecutorConfig(), {}, ThreadWorkers())
    async with trio.open_nursery() as nursery:
        await nursery.start(executor.run)
        said = {"trouble": executor.trouble(), "limits": dict(executor.enforceable())}
        if not executor.trouble():
            for job, what in {
                "id.1": spec("id.1", "id -u; echo x > /work/f; sleep 2 & sleep 0.1"),
                "bomb.1": spec("bomb.1", "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait"),
                "disk.1": spec("disk.1", "head -c 20000000 /dev/zero > big; sleep 20"),
                "wall.1": spec("wall.1", "setsid sleep 20 & sleep 20", wall_s=0.5),
            }.items():
                await executor.prepare(what.job)
                await executor.start(what)
                ended = await executor.wait(what.job)
                out = await executor.read_log(what.job, "stdout", 0, 1000)
                err = await executor.read_log(what.job, "stderr", 0, 1000)
                said[job] = [ended.code, ended.reason, out.decode(), err.decode(), ended.enforced]
                await executor.forget(what.job)
        print(json.dumps(said))
        nursery.cancel_scope.cancel()

trio.run(main, sys.argv[1])
"""


def seen_by_everybody(trees: Mapping[Path, Path]) -> list[str]:
    """A prefix: the program sees these trees elsewhere, too. A checkout may lie in root's home."""
    binds = [f"mount --bind {shlex.quote(str(a))} {shlex.quote(str(b))}" for a, b in trees.items()]
    for place in trees.values():
        place.mkdir()
    script = " && ".join([*binds, 'exec "$@"'])
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]


@needs_bwrap
@needs_root
@needs_python
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) is missing")
def test_as_an_ordinary_user_jobs_run_and_lacking_limits_are_named(open_path: Path) -> None:
    version = subprocess.run([PYTHON, "-V"], capture_output=True, text=True, check=True).stdout
    if version.split()[1].rsplit(".", 1)[0] != ".".join(map(str, sys.version_info[:2])):
        pytest.skip(f"{PYTHON} is {version.strip()}, the installed packages are for another one")
    home = open_path / "home"
    home.mkdir()
    os.chown(home, int(NOBODY), int(NOBODY))
    code, packages = open_path / "code", open_path / "packages"
    ran = subprocess.run(
        [
            *seen_by_everybody({ROOT: code, Path(trio.__file__).parents[1]: packages}),
            "setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--inh-caps=-all",
            PYTHON, "-c", SCRIPT, str(home / "x"),
        ],
        capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{code}:{packages}"}, cwd="/",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    if said["trouble"]:
        pytest.skip(said["trouble"])
    lacking = [limit for limit, why in said["limits"].items() if why]
    for limit in {*lacking} - {"disk-fs", "io"}:
        old = os.path.isdir("/sys/fs/cgroup/memory")
        assert ("cgcreate -a" if old else "Delegate=yes") in said["limits"][limit]
    exit_code, reason, out, err, enforced = said["id.1"]
    assert (exit_code, reason, out) == (0, "exit", f"{NOBODY}\n"), err
    assert {*enforced, *lacking} == set(said["limits"])
    assert "fork" in said["bomb.1"][3]
    assert said["disk.1"][1] == "disk" or "large" in said["disk.1"][3]
    assert said["wall.1"][1] == "wall"
