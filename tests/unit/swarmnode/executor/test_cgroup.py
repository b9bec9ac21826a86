"""Control groups of both versions; version 2 against a tree of ordinary files."""

import os
from pathlib import Path

from swarmnode.executor.kernel import cgroup
from swarmnode.executor.kernel.cgroup import JobCgroup
from swarmnode.executor.kernel.cgroup_parents import (
    LEAF,
    Parents,
    find_parents,
    hand_down_controllers,
)
from swarmnode.executor.shim import process
from swarmnode.limits import KILL_TIMEOUT_S
from swarmnode.resources.cgroup_paths import V2

MOUNTS_V1 = """\
30 25 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro
31 30 0:27 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory
32 30 0:28 /docker/abc /sys/fs/cgroup/pids rw,nosuid - cgroup cgroup rw,pids
33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
34 30 0:30 / /sys/fs/cgroup/blkio rw,nosuid - cgroup cgroup rw,blkio
"""
MEMBERSHIP_V1 = "9:memory:/user/me\n8:pids:/docker/abc/job\n7:cpu,cpuacct:/\n6:blkio:/\n0::/\n"
MOUNT_V2 = "31 30 0:27 / {} rw,nosuid - cgroup2 cgroup2 rw\n"


def fake_v2(folder: Path, controllers: str = "cpu memory pids io") -> Path:
    """What systemd delegates to a service."""
    own = folder / "system.slice" / "swarm.service"
    own.mkdir(parents=True)
    (own / "cgroup.controllers").write_text(controllers + "\n")
    (own / "cgroup.subtree_control").write_text("\n")
    (own / "cgroup.type").write_text("domain\n")
    (own / LEAF).mkdir()
    (own / LEAF / "cgroup.procs").write_text("")
    return own


def make_v2(path: str) -> None:
    """The kernel fills a new group with control files."""
    os.mkdir(path)
    for name in (
        "memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cpu.weight", "cpu.max",
        "cgroup.kill", "cgroup.procs",
    ):  # fmt: skip
        Path(path, name).write_text("")
    Path(path, "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\n")
    Path(path, "memory.peak").write_text("7340032\n")
    Path(path, "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")


def test_a_shim_calls_version_2_as_its_node_does() -> None:
    assert cgroup.V2 == V2


def test_a_shim_waits_for_killed_processes_as_long_as_its_node_does() -> None:
    assert process.KILL_TIMEOUT_S == KILL_TIMEOUT_S


def test_our_groups_of_version_1_are_found_also_from_inside_a_container() -> None:
    parents = find_parents(MOUNTS_V1, MEMBERSHIP_V1, lambda _path: True)
    assert parents.dirs == {
        "memory": "/sys/fs/cgroup/memory/user/me",
        "pids": "/sys/fs/cgroup/pids/job",
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "blkio": "/sys/fs/cgroup/blkio",
    }
    assert parents.plan("job")["memory"] == "/sys/fs/cgroup/memory/user/me/job"


def test_a_group_that_is_not_ours_is_a_trouble_with_words() -> None:
    parents = find_parents(MOUNTS_V1, MEMBERSHIP_V1, lambda path: "memory" not in path)
    assert "memory" not in parents.dirs
    assert parents.troubles["memory"] == "/sys/fs/cgroup/memory/user/me is not ours to write"
    assert parents.is_v1
    assert not find_parents(MOUNT_V2.format("/x"), "0::/a\n", lambda path: False).is_v1


def test_on_version_2_the_node_moves_into_a_leaf_and_hands_down_controllers(
    tmp_path: Path,
) -> None:
    own = fake_v2(tmp_path)
    mounts = MOUNT_V2.format(tmp_path)
    parents = find_parents(mounts, "0::/system.slice/swarm.service\n")
    hand_down_controllers(parents, 4711)
    assert parents.dirs == {V2: str(own)}
    assert (own / LEAF / "cgroup.procs").read_text() == "4711"
    assert (own / "cgroup.subtree_control").read_text().startswith("+io")  # the last one
    assert parents.troubles == {}
    again = find_parents(mounts, f"0::/system.slice/swarm.service/{LEAF}\n")
    assert again.dirs == parents.dirs


def test_on_version_2_what_is_not_delegated_is_a_trouble(tmp_path: Path) -> None:
    own = fake_v2(tmp_path)
    (own / "cgroup.subtree_control").unlink()
    parents = Parents({V2: str(own)}, {})
    hand_down_controllers(parents, 4711)
    assert set(parents.troubles) == {"memory", "pids", "cpu", "io"}


def test_limits_of_version_2_are_written_and_accounts_read(tmp_path: Path) -> None:
    group = JobCgroup({V2: str(tmp_path / "job")})
    took = group.make(64 << 20, 16, 2500, mkdir=make_v2)
    assert took == ("memory", "pids", "cpu")
    written = {
        name: (tmp_path / "job" / name).read_text()
        for name in (
            "memory.max",
            "memory.swap.max",
            "memory.oom.group",
            "pids.max",
            "cpu.weight",
            "cpu.max",
        )
    }
    assert written == {
        "memory.max": str(64 << 20),
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "pids.max": "16",
        "cpu.weight": "250",
        "cpu.max": "250000 100000",
    }
    assert group.oom_kills() == 2
    assert group.memory_peak_bytes() == 7340032
    assert group.cpu_s() == 1.5
    assert group.kill(1.0)
    assert (tmp_path / "job" / "cgroup.kill").read_text() == "1"


def test_what_a_group_does_not_take_is_not_claimed(tmp_path: Path) -> None:
    def only_pids(path: str) -> None:
        os.mkdir(path)
        Path(path, "pids.max").write_text("")

    assert JobCgroup({V2: str(tmp_path / "job")}).make(1 << 20, 16, 100, mkdir=only_pids) == (
        "pids",
    )
