"""The README's two commands on a Debian 12 that has git, make and python3-venv, and no more.

Needs root, debootstrap and Debian's and Python's package registries; the tree has no bubblewrap, no
compiler and no iproute2, so whatever needs them by hand fails here.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.containers,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a file tree is booted into"),
    pytest.mark.skipif(
        shutil.which("debootstrap") is None,
        reason="debootstrap is missing: apt install debootstrap",
    ),
]
REPOSITORY = Path(__file__).parents[2]
BARE = REPOSITORY / "testnet/bare"
MADE_S, RUN_S = 400, 500
"""Downloads included; both take less than a minute on a quiet machine."""


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("bare") / "debian"
    try:
        subprocess.run(["sh", BARE / "make.sh", root], check=True, timeout=MADE_S)
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def run(root: Path, user: str, script: str) -> str:
    done = subprocess.run(
        ["sh", BARE / "run.sh", root, user, "sh", "-c", script],
        capture_output=True, text=True, timeout=RUN_S, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


@pytest.mark.parametrize("user", ["root", "kim"])
def test_demo_and_test_need_nothing_else_to_be_installed(debian: Path, user: str) -> None:
    home = debian / ("root" if user == "root" else f"home/{user}")
    subprocess.run(["git", "clone", "-q", REPOSITORY, home / "swarm"], check=True)
    run(debian, "root", f"chown -R {user}: ~{user}/swarm")

    said = run(debian, user, "cd swarm && make demo")
    assert "9 of 9 steps passed" in said
    assert "WARNING" not in said

    said = run(debian, user, "cd swarm && make test TESTS='tests/unit/swarmnode/executor'")
    assert " passed" in said
    assert "WARNING" not in said
