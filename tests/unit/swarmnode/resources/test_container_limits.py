"""A container may use what its control groups allow, not what the host has."""

from collections.abc import Callable, Mapping

from swarmnode.resources.container_limits import ContainerLimits, container_limits

GIB = 1024**3
MOUNT_V2 = "31 30 0:27 / /cg rw - cgroup2 cgroup2 rw\n"
MOUNTS_V1 = (
    "31 30 0:27 / /cg/memory rw - cgroup cgroup rw,memory\n"
    "32 30 0:28 / /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
)


def files(content: Mapping[str, str]) -> Callable[[str], str]:
    return lambda path: content.get(path, "")


def test_the_tightest_group_above_us_counts_on_version_2() -> None:
    read = files(
        {
            "/cg/a/b/memory.max": "max\n",
            "/cg/a/b/memory.current": str(GIB),
            "/cg/a/memory.max": str(4 * GIB),
            "/cg/a/memory.current": str(3 * GIB),
            "/cg/a/memory.stat": f"anon {GIB}\ninactive_file {GIB}\n",
            "/cg/a/b/cpu.max": "150000 100000\n",
            "/cg/a/cpu.max": "max 100000\n",
        }
    )
    assert container_limits(MOUNT_V2, "0::/a/b\n", read) == ContainerLimits(4 * GIB, 2 * GIB, 1500)


def test_version_1_has_a_file_for_each() -> None:
    read = files(
        {
            "/cg/memory/job/memory.limit_in_bytes": str(2 * GIB),
            "/cg/memory/job/memory.usage_in_bytes": str(GIB),
            "/cg/memory/job/memory.stat": f"inactive_file 5\ntotal_inactive_file {GIB // 2}\n",
            "/cg/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "/cg/memory/memory.usage_in_bytes": "1\n",
            "/cg/cpu/cpu.cfs_quota_us": "-1\n",
            "/cg/cpu/cpu.cfs_period_us": "100000\n",
        }
    )
    found = container_limits(MOUNTS_V1, "9:memory:/job\n7:cpu,cpuacct:/\n", read)
    assert found == ContainerLimits(2 * GIB, GIB // 2, 0)


def test_without_control_groups_there_is_no_limit() -> None:
    assert container_limits("", "", files({})) == ContainerLimits(0, 0, 0)


def test_garbage_in_a_control_file_is_no_limit() -> None:
    read = files({"/cg/memory.max": "what", "/cg/memory.current": "1", "/cg/cpu.max": "x y"})
    assert container_limits(MOUNT_V2, "0::/\n", read) == ContainerLimits(0, 0, 0)
