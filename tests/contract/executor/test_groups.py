"""Control groups of jobs: the same calls on machines as they were recorded, and on this one."""

import mmap
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmnode.executor.kernel.cgroup import JobCgroup
from swarmnode.executor.kernel.cgroup_parents import find_parents, hand_down_controllers
from swarmnode.executor.kernel.disk_io import disk_under
from swarmnode.resources.mounts import MEMBERSHIP, MOUNTINFO, read_proc
from tests.group_hosts import HOSTS, GroupHost, Recorded

MIB = 1024 * 1024
NAME = f"swarm-contract-{os.getpid()}"


@pytest.fixture(params=HOSTS, ids=[host.name for host in HOSTS])
def recorded(request: pytest.FixtureRequest, tmp_path: Path) -> Recorded:
    host: GroupHost = request.param
    laid = Recorded(host, tmp_path)
    laid.lay_out()
    return laid


def read_all(group: JobCgroup) -> dict[str, str]:
    """Every control file of a recorded group."""
    return {
        path.name: path.read_text().strip()
        for folder in dict.fromkeys(group.dirs.values())
        for path in Path(folder).iterdir()
    }


def test_on_a_recorded_machine_what_holds_is_claimed_and_nothing_else(recorded: Recorded) -> None:
    parents = find_parents(recorded.mountinfo, recorded.membership, recorded.may_write)
    hand_down_controllers(parents, os.getpid())
    host = recorded.host
    assert set(parents.dirs) == host.kinds
    assert set(parents.troubles) == host.troubles
    group = JobCgroup(parents.plan(NAME))
    assert group.make(64 * MIB, 16, 2500, mkdir=recorded.mkdir) == host.takes
    assert group.limit_io("8:0", 5_000_000) == host.holds_io
    found = read_all(group)
    # Ordinary files keep the end of what was longer.
    assert {key for key, value in host.written.items() if not found[key].startswith(value)} == set()
    group.enter()
    assert group.processes() == []
    assert group.kill(1.0)
    after = read_all(group)  # who dies is not held back
    assert after.get("cpu.max", "max").startswith("max")
    assert after.get("cpu.cfs_quota_us", "-1").startswith("-1")
    if host.takes:
        assert group.oom_kills() == 2
        assert group.memory_peak_bytes() == 7340032
        assert group.cpu_s() == 1.5


def test_without_a_rate_the_disk_is_not_claimed_to_be_held(recorded: Recorded) -> None:
    parents = find_parents(recorded.mountinfo, recorded.membership, recorded.may_write)
    group = JobCgroup(parents.plan(NAME))
    group.make(64 * MIB, 16, 1000, mkdir=recorded.mkdir)
    assert not group.limit_io("8:0", 0)
    assert not group.limit_io("", 5_000_000)
    assert ["io.max" for key, text in read_all(group).items() if key == "io.max" and text] == []


@pytest.fixture
def here() -> Iterator[JobCgroup]:
    parents = find_parents(read_proc(MOUNTINFO), read_proc(MEMBERSHIP))
    if not parents.dirs:
        pytest.skip("no control group of this machine is ours to write")
    group = JobCgroup(parents.plan(NAME))
    yield group
    group.kill(5.0)
    group.remove()


def test_on_this_machine_a_group_takes_limits_counts_kills_and_goes(here: JobCgroup) -> None:
    took = here.make(64 * MIB, 16, 1000)
    here.limit_io(disk_under("/"), 50_000_000)
    pid = os.fork()
    if pid == 0:
        here.enter()
        while True:
            os.getppid()
    while not (here.processes() and here.cpu_s() > 0.01):
        os.sched_yield()
    assert here.processes() == [pid]
    assert here.kill(5.0)
    assert os.waitpid(pid, 0)[1] == 9
    assert here.oom_kills() == 0
    assert "memory" not in took or here.memory_peak_bytes() > 0
    assert here.remove()
    assert not any(os.path.exists(path) for path in here.dirs.values())


def test_a_partition_is_called_by_its_disk_and_a_pool_of_disks_by_nothing(tmp_path: Path) -> None:
    """moby/moby#10004: control groups take no partition."""
    device = os.stat(tmp_path).st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    disk = tmp_path / "devices" / "sda"
    (disk / "sda1").mkdir(parents=True)
    (disk / "dev").write_text("8:0\n")
    (disk / "sda1" / "dev").write_text(name + "\n")
    (disk / "sda1" / "partition").write_text("1\n")
    places = tmp_path / "dev" / "block"
    places.mkdir(parents=True)
    assert disk_under(str(tmp_path), tmp_path) == ""
    (places / name).symlink_to(disk / "sda1")
    assert disk_under(str(tmp_path), tmp_path) == "8:0"
    (places / name).unlink()
    (places / name).symlink_to(disk)
    assert disk_under(str(tmp_path), tmp_path) == "8:0"


def test_on_this_machine_what_is_written_past_memory_is_held_to_the_rate(
    here: JobCgroup, tmp_path: Path
) -> None:
    disk = disk_under(str(tmp_path))
    here.make(64 * MIB, 16, 1000)
    is_held = here.limit_io(disk, 2 * MIB)
    old = Path(here.dirs.get("blkio", "/none"), "blkio.throttle.write_bps_device")
    if not (is_held or (old.exists() and disk in old.read_text())):
        pytest.skip(f"no io or blkio controller is ours here, or {tmp_path} is on no disk")
    file = os.open(tmp_path / "f", os.O_CREAT | os.O_WRONLY | os.O_DIRECT)
    pid = os.fork()
    if pid == 0:
        here.enter()
        with mmap.mmap(-1, MIB) as block:
            for _ in range(4):
                os.write(file, block)
        os._exit(0)
    begun_s = time.monotonic()
    os.close(file)
    assert os.waitpid(pid, 0)[1] == 0
    assert time.monotonic() - begun_s > 1.0
