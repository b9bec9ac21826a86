"""Whatever the umask: nothing of a node is written by anybody else."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from p2p.identity.private_files import make_private_folder
from swarmnode.demo.launcher import LocalSwarm, new_root
from swarmnode.demo.report import until
from tests.integration.swarm_lab import put, submit, wait
from tests.job_lab import work_folder

OTHERS = stat.S_IWGRP | stat.S_IWOTH
WORK = "mkdir -p ckpt/step-1 && echo w >ckpt/step-1/w && echo out >result && sleep 2"


@pytest.fixture(autouse=True)
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@contextmanager
def open_handed_node() -> Iterator[LocalSwarm]:
    root = new_root()
    swarm = LocalSwarm(root / "a" / "b")
    (root / "a" / "b").mkdir(parents=True)
    script = (
        "import os, runpy; os.umask(0); runpy.run_module('swarmnode.daemon', run_name='__main__')"
    )
    try:
        swarm.start(swarm.add("n0"), (sys.executable, "-c", script))
        swarm.wait_ready(30)
        yield swarm
    finally:
        swarm.destroy()


def loose(root: Path) -> list[str]:
    """Everything below that others may write, but what tasks made themselves."""
    return [
        f"{path} {stat.S_IMODE(found.st_mode):o}"
        for path in sorted(root.rglob("*"))
        if not stat.S_ISLNK((found := path.lstat()).st_mode) and found.st_mode & OTHERS
    ]


def has_begun(jobs: Path) -> bool:
    return any((work_folder(job) / "result").exists() for job in jobs.glob("*"))


def test_no_file_or_folder_of_a_node_is_written_by_others() -> None:
    with open_handed_node() as swarm:
        [node] = swarm.nodes
        put(node, b"x" * 3_000_000)
        spec = {
            "run": ["/bin/sh", "-c", WORK],
            "outputs": ["result"],
            "checkpoint": {"dir": "ckpt", "every_s": 1},
        }
        task = submit(node, spec)
        jobs = node.home / "tasks" / "jobs"
        until(partial(has_begun, jobs), within_s=30, what="it has begun")
        assert loose(node.home) == []
        assert wait(node, task)["state"] == "done"
        assert loose(node.home) == []


def test_folders_above_a_home_are_not_either(tmp_path: Path) -> None:
    make_private_folder(tmp_path / "a" / "b" / "c")
    assert [stat.S_IMODE((tmp_path / one).stat().st_mode) for one in ("a", "a/b", "a/b/c")] == [
        0o755,
        0o755,
        0o700,
    ]
