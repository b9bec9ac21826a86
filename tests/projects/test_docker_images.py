"""Images that docker builds, saves and pushes: a project's command gives in them what docker gives.

Needs an engine: `sh testnet/engine/up.sh` before `make test-projects`, or one that answers.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from swarmnode.demo.launcher import LocalNode, LocalSwarm
from swarmnode.demo.report import until
from tests.integration.swarm_lab import swarm_of
from tests.projects.test_packages_of_a_project import swarm

BASE: Final = "debian:bookworm-slim"
LAB: Final = """
FROM debian:bookworm-slim
COPY labtool.py /opt/lab/labtool.py
ENV PYTHONPATH=/opt/lab LAB_MODE="two words"
RUN mkdir -p /var/lib/lab /opt/gone/deep && echo first > /var/lib/lab/state \
 && echo x > /opt/gone/deep/x && ln -s ../lab/labtool.py /opt/gone/link \
 && ln /var/lib/lab/state /var/lib/lab/again
RUN rm -r /opt/gone && mv /var/lib/lab/again /var/lib/lab/moved && chmod 4755 /usr/bin/env
RUN mkdir -p /opt/gone && echo anew > /opt/gone/new
WORKDIR /srv
USER nobody
ENTRYPOINT ["/bin/false"]
"""
TOOL: Final = "def area(a, b):\n    return a * b\n"
WORK: Final = """
import json, os, pathlib, labtool
numbers = [int(line) for line in open("input.txt")]
state = pathlib.Path("/var/lib/lab/state")
with open(state, "a") as file:
    file.write("second\\n")
for place in ("/root/cache", "/opt/new/deep", "/etc/lab"):
    os.makedirs(place)
    pathlib.Path(place, "x").write_text("x")
os.makedirs("results", exist_ok=True)
told = {
    "area": labtool.area(sum(numbers), 2),
    "mode": os.environ["LAB_MODE"],
    "state": state.read_text(),
    "moved": os.path.exists("/var/lib/lab/moved"),
    "gone": sorted(os.listdir("/opt/gone")),
    "system": open("/etc/os-release").readline(),
}
pathlib.Path("results/told.json").write_text(json.dumps(told))
print(json.dumps(told, sort_keys=True))
"""
TRAIN: Final = """
import torch
torch.manual_seed(7)
torch.set_num_threads(1)
x = torch.randn(512, 16)
y = (x @ torch.randn(16, 1)).tanh()
model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(30):
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    if epoch % 10 == 9:
        print(f"epoch {epoch + 1}: {loss.item():.6f}", flush=True)
"""
TORCH: Final = """
FROM debian:bookworm-slim
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-torch \
 && rm -rf /var/lib/apt/lists/*
"""

pytestmark = pytest.mark.containers


def docker(*words: str, **settings: str) -> str:
    done = subprocess.run(
        ["docker", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **settings},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def engine() -> None:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "info"], capture_output=True).returncode
    ):
        pytest.skip("no container engine answers: sh testnet/engine/up.sh && . testnet/.run/env")


@pytest.fixture(scope="module")
def pool() -> Iterator[LocalSwarm]:
    with swarm_of(1, STORAGE__MIN_FREE_GIB="1") as pool:
        yield pool


@pytest.fixture
def node(pool: LocalSwarm) -> LocalNode:
    return pool.nodes[0]


@contextmanager
def built(folder: Path, dockerfile: str, tag: str) -> Iterator[str]:
    """An image of docker's, as long as it is needed."""
    folder.mkdir()
    (folder / "Dockerfile").write_text(dockerfile)
    (folder / "labtool.py").write_text(TOOL)
    docker("build", "-q", "--network", "host", "-t", tag, str(folder))
    try:
        yield tag
    finally:
        docker("rmi", "-f", tag)


def by_docker(project: Path, tag: str, *argv: str) -> str:
    """What the same command gives there, as root and without the image's entry point."""
    ways = f"run --rm -u 0 -w /work --entrypoint {argv[0]} -v {project}:/work".split(" ")
    return docker(*ways, tag, *argv[1:])


def project_in(folder: Path) -> Path:
    folder.mkdir()
    (folder / "work.py").write_text(WORK)
    (folder / "input.txt").write_text("1\n2\n3\n")
    return folder


def second_run(node: LocalNode, folder: Path, *words: str) -> str:
    """What it prints; the time to its first line is shown with -s."""
    env = {**os.environ, "SWARM_API": str(node.client.socket_path), "HOME": "/nonexistent"}
    began = time.monotonic()
    command = [sys.executable, "-m", "swarmnode.cli.main", *words]
    with subprocess.Popen(
        command,
        env=env,
        cwd=folder,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        first = running.stdout.readline()
        first_s = time.monotonic() - began
        rest = running.stdout.read()
        said = running.stderr.read()
    whole_s = time.monotonic() - began
    print(f"second run in {words[2]}: first line {first_s:.2f} s, all {whole_s:.2f} s")
    assert "unpacked: " not in said, said
    return f"{first}{rest}"


def test_an_image_that_docker_built_and_saved(node: LocalNode, tmp_path: Path) -> None:
    folder, local = project_in(tmp_path / "project"), project_in(tmp_path / "local")
    with built(tmp_path / "build", LAB, "swarm-lab:saved") as tag:
        docker("save", "-o", str(tmp_path / "lab.tar"), tag)
        wanted = by_docker(local, tag, "python3", "work.py")
    run = ("run", "--env", "../lab.tar", "--out", "results", "--", "python3", "work.py")
    out, said = swarm(node, folder, *run)
    assert out == wanted, said
    told = json.loads((folder / "results/told.json").read_text())
    assert told == json.loads((local / "results/told.json").read_text())
    assert told["gone"] == ["new"]
    shutil.rmtree(folder / "results")
    assert second_run(node, folder, *run) == wanted


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Debian's own, on a port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    folder.mkdir()
    storage = f"storage:\n  filesystem:\n    rootdirectory: {folder}\n"
    config = folder / "config.yml"
    config.write_text(f"version: 0.1\nlog:\n  level: error\n{storage}http:\n  addr: {address}\n")
    command = ["docker-registry", "serve", str(config)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        host, _, port = address.partition(":")
        with socket.socket() as line:
            return line.connect_ex((host, int(port))) == 0

    try:
        until(answers, within_s=20, what="the registry answers")
        yield address
    finally:
        server.terminate()
        server.wait()


@pytest.mark.skipif(
    shutil.which("docker-registry") is None, reason="docker-registry is missing (apt install it)"
)
def test_an_image_in_a_local_registry(node: LocalNode, tmp_path: Path) -> None:
    folder, local = project_in(tmp_path / "project"), project_in(tmp_path / "local")
    with registry(tmp_path / "registry") as address:
        another = f"{LAB}ENV LAB_MODE=pushed\n"
        with built(tmp_path / "build", another, f"{address}/team/lab:1") as tag:
            docker("push", "-q", tag)
            digest = docker("inspect", "--format", "{{index .RepoDigests 0}}", tag).strip()
            wanted = by_docker(local, tag, "python3", "work.py")
        run = ("run", "--env", f"docker://{tag}", "--", "python3", "work.py")
        out, said = swarm(node, folder, *run)
        assert out == wanted, said
        assert "fetching docker://" in said
        assert digest.partition("@")[2] in said, "what the tag means is said as docker says it"
        assert second_run(node, folder, *run) == wanted
        pinned = ("run", "--env", f"docker://{digest}", "--", "python3", "work.py")
        assert second_run(node, folder, *pinned) == wanted


@pytest.mark.slow
def test_a_torch_training_in_an_image(node: LocalNode, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    with built(tmp_path / "build", TORCH, "swarm-lab:torch") as tag:
        docker("save", "-o", str(tmp_path / "torch.tar"), tag)
        wanted = by_docker(folder, tag, "python3", "train.py")
        began = time.monotonic()
        by_docker(folder, tag, "python3", "train.py")
        print(f"by docker, once more: {time.monotonic() - began:.2f} s")
    assert wanted.count("epoch") == 3
    run = ("run", "--env", "../torch.tar", "--", "python3", "train.py")
    out, said = swarm(node, folder, *run, limit_s=900)
    assert out == wanted, said
    assert second_run(node, folder, *run) == wanted
