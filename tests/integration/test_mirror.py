"""Programs of tasks install from PyPI and load from the hub, and what they fetch leaves the
internet once for the machines of a lab: pip and uv as they are, in the sandbox."""

import ensurepip
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio
import uv

from swarmnode.executor.network.resolver import TableResolver
from swarmnode.executor.process import ProcessExecutor
from swarmnode.tasks.environments.naming import COMMAND
from swarmnode.tasks.environments.naming import UV as UV_PLACE
from tests.job_lab import MIB, needs_bwrap, needs_python, run_job, spec
from tests.mirror_lab import COMMIT, HERE, NAMES, Internet, internet_at, mirror_machines, sha256
from tests.net_lab import JOB, Authority, begin, end, net_node
from tests.wheel_lab import make_wheel, pinned

pytestmark = [needs_bwrap, needs_python]

LAB = {"a": "lab", "b": "lab"}
MODEL = bytes(range(256)) * 4096
PIP = """
import subprocess, sys
pip = [sys.executable, "/work/pip.whl/pip", "--disable-pip-version-check", "--no-cache-dir"]
done = subprocess.run([*pip, "download", "-q", "--no-deps", "-d", "got", "pkg"], text=True)
import os; print(done.returncode, *os.listdir("got") if os.path.isdir("got") else ())
"""
UV = """
import subprocess
words = ["uv", "pip", "install", "-q", "--no-cache", "--target", "got", "pkg"]
done = subprocess.run(words)
import sys; sys.path.insert(0, "got"); import pkg; print(done.returncode, pkg.x)
"""
LOAD = """
import os, sys, urllib.request
place = os.environ["HF_ENDPOINT"] + "/o/n/resolve/main/model.safetensors"
ask = urllib.request.Request(place, method="HEAD", headers={"accept-encoding": "identity"})
head = urllib.request.urlopen(ask).headers
whole = urllib.request.urlopen(place).read()
import hashlib; print(head["X-Repo-Commit"], hashlib.sha256(whole).hexdigest() in head["ETag"])
"""


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _tools(folder: Path) -> Path:
    """An environment with uv in it."""
    (folder / "bin").mkdir(parents=True)
    shutil.copyfile(uv.find_uv_bin(), folder / "bin" / "uv")
    (folder / "bin" / "uv").chmod(0o755)
    return folder


@asynccontextmanager
async def _two(tmp_path: Path) -> AsyncIterator[tuple[Internet, dict[str, ProcessExecutor]]]:
    """Two machines of one lab with the internet of a test; their environment has uv."""
    authority, tools = Authority(tmp_path, NAMES), {"tools": _tools(tmp_path / "tools")}
    with trio.fail_after(90):
        async with internet_at(authority) as internet:
            internet.wheel(make_wheel(tmp_path, "pkg", "1.0", {"pkg.py": "x = 7\n"}))
            internet.large("/o/n/resolve/main/model.safetensors", MODEL)
            resolver = TableResolver({name: [HERE] for name in NAMES}, {443: internet.port})
            private = [HERE]
            async with (
                net_node(tmp_path / "x", resolver, private, tools, has_mirror=True) as one,
                net_node(tmp_path / "y", resolver, private, tools, has_mirror=True) as two,
            ):
                executors = {"a": one, "b": two}
                disks = tmp_path / "disks"
                async with mirror_machines(disks, authority, LAB, executors=executors):
                    yield internet, executors


async def _done(executor: ProcessExecutor, script: str, *net: str, **more: object) -> str:
    """What a task printed."""
    await executor.prepare(JOB)
    pip = next((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"), None)
    if pip is None:
        pytest.skip("this Python brings no wheel of pip (ensurepip)")
    await executor.put_file(JOB, "pip.whl", _pieces(pip.read_bytes()))
    await begin(executor, script, net=net, environment="tools", disk_bytes=200 * MIB, **more)
    code, out, err = await end(executor)
    assert code == 0, err
    await executor.forget(JOB)
    return out + err


@pytest.mark.parametrize(("script", "net"), [(PIP, "pypi"), (UV, "pypi"), (LOAD, "hf")])
async def test_what_two_machines_fetch_leaves_the_internet_once_and_can_be_had_without_it(
    tmp_path: Path, script: str, net: str
) -> None:
    async with _two(tmp_path) as (internet, executors):
        said = [await _done(executors[name], script, net) for name in ("a", "b")]
        internet.is_down = True
        said.append(await _done(executors["a"], script, net))
    if script == LOAD:
        assert said == [f"{COMMIT} True\n"] * 3
        assert internet.count(f"cdn-lfs.hf.co /{sha256(MODEL)}") == 1
    else:
        told = "0 7\n" if script == UV else "0 pkg-1.0-py3-none-any.whl\n"
        assert said == [told] * 3
        fetched = [line for line in internet.asked if line.endswith("none-any.whl")]
        assert fetched == ["GET files.pythonhosted.org /packages/pkg-1.0-py3-none-any.whl"]


async def test_a_build_of_an_environment_asks_the_mirror(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in [key for key in os.environ if key.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    version = "{}.{}".format(*sys.version_info[:2])
    async with _two(tmp_path) as (internet, executors):
        lock = pinned(tmp_path / "pkg-1.0-py3-none-any.whl").encode()
        for executor in executors.values():
            shape = {"memory_bytes": 1024 * MIB, "pids_max": 256, "disk_bytes": 1024 * MIB}
            what = spec(
                JOB, *COMMAND, UV_PLACE, environment=f"build:{version}", net=("pypi",), **shape
            )
            await executor.prepare(JOB)
            await executor.put_file(JOB, "env/.lock", _pieces(lock))
            ended, _, said = await run_job(executor, what)
            assert (ended.code, "built: 1 package" in said) == (0, True), said
    assert internet.count("GET files.pythonhosted.org /packages/pkg-1.0-py3-none-any.whl") == 1


ENVIRON = """
import json, os
names = "PIP_INDEX_URL PIP_TRUSTED_HOST UV_DEFAULT_INDEX UV_INDEX_URL HF_ENDPOINT".split()
print(json.dumps({name: os.environ[name] for name in names if name in os.environ}))
"""
SIMPLE, HUB = "http://pypi.mirror.swarm/simple/", "http://hf.mirror.swarm"


async def test_programs_are_told_of_a_mirror_and_never_against_what_was_set(
    tmp_path: Path,
) -> None:
    async with net_node(tmp_path, TableResolver({}), has_mirror=True) as executor:

        async def told(*net: str, file: str = "", **env: str) -> dict[str, str]:
            await executor.prepare(JOB)
            if file:
                await executor.put_file(
                    JOB, file.partition("=")[0], _pieces(file.partition("=")[2].encode())
                )
            await begin(executor, ENVIRON, net=net, env=env)
            code, out, err = await end(executor)
            assert code == 0, err
            await executor.forget(JOB)
            return dict(msgspec.json.decode(out))

        pip = {"PIP_INDEX_URL": SIMPLE, "PIP_TRUSTED_HOST": "pypi.mirror.swarm"}
        both = {"UV_DEFAULT_INDEX": SIMPLE, "UV_INDEX_URL": SIMPLE}
        assert await told("pypi") == {**pip, **both}
        assert await told("hf") == {"HF_ENDPOINT": HUB}
        assert await told("internet") == {**pip, **both, "HF_ENDPOINT": HUB}
        assert await told("pypi.org") == {}
        own = "https://me:secret@index.example/simple"
        assert await told("pypi", PIP_INDEX_URL=own) == {"PIP_INDEX_URL": own, **both}
        assert await told("pypi", UV_INDEX_URL=own) == {**pip, "UV_INDEX_URL": own}
        assert await told("internet", https_proxy="http://p", HTTP_PROXY="http://p") == {}
        assert await told("hf", HF_ENDPOINT="https://hub.example") == {
            "HF_ENDPOINT": "https://hub.example"
        }
        # A lock names its index: with another one uv makes it anew (uv#19625, sigstore-python#1780)
        assert await told("pypi", file="uv.lock=version = 1") == pip
        assert await told("pypi", file="pyproject.toml=[[tool.uv.index]]") == pip
        assert await told("pypi", file="pyproject.toml=[project]") == {**pip, **both}


REFUSED = """
import os, sys, urllib.request, urllib.error
for name in ("pypi.mirror.swarm", "hf.mirror.swarm"):
    try: urllib.request.urlopen(f"http://{name}/simple/none/", timeout=20)
    except urllib.error.HTTPError as exc: print(name, exc.code)
    except OSError as exc: print(name, "no")
"""


async def test_a_mirror_is_for_who_may_reach_what_it_mirrors(tmp_path: Path) -> None:
    async with _two(tmp_path) as (_, executors):
        said = await _done(executors["a"], REFUSED, "pypi")
        assert said.startswith("pypi.mirror.swarm 404\nhf.mirror.swarm no\n")
        assert "refused: hf.mirror.swarm, a mirror of hf; this task may reach pypi" in said
        assert "(--net pypi,hf)" in said


async def test_what_came_by_a_mirror_is_the_tasks_traffic(tmp_path: Path) -> None:
    async with _two(tmp_path) as (_, executors):
        for name in ("a", "b"):
            await executors[name].prepare(JOB)
            await begin(executors[name], LOAD, net=["hf"])
            code, _, err = await end(executors[name])
            assert code == 0, err
            (view,) = executors[name].jobs()
            assert len(MODEL) < view.net_down_bytes < len(MODEL) + 10_000
            assert 0 < view.net_up_bytes < 10_000
