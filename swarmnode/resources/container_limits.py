"""How much of the machine our control groups leave us: what a container may really use."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from swarmnode.resources.cgroup_paths import V2, own_groups

_UNLIMITED_BYTES: Final = 1 << 60
"""Version 1 writes a huge number where there is no limit."""


class ContainerLimits(msgspec.Struct, frozen=True):
    """0 where nothing limits us."""

    memory_bytes: int = 0
    memory_used_bytes: int = 0
    """Of the group that sets the limit; caches that the kernel would give up are not counted."""
    cpu_millis: int = 0


def read_file(path: str) -> str:
    """The text of a control file; empty where there is none."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def container_limits(
    mountinfo: str, membership: str, read: Callable[[str], str] = read_file
) -> ContainerLimits:
    """The tightest limits from our group up to the mount point."""
    groups = own_groups(mountinfo, membership)
    memory: list[tuple[int, int]] = []
    cpus: list[int] = []
    for group in _upwards(groups.get(V2)):
        memory += _memory(group, read, "memory.max", "memory.current", "inactive_file ")
        cpus += _cpu_v2(read(group + "/cpu.max"))
    for group in _upwards(groups.get("memory")):
        limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
        memory += _memory(group, read, limit, used, "total_inactive_file ")
    for group in _upwards(groups.get("cpu")):
        cpus += _cpu_v1(read(group + "/cpu.cfs_quota_us"), read(group + "/cpu.cfs_period_us"))
    memory_bytes, used_bytes = min(memory, default=(0, 0))
    return ContainerLimits(memory_bytes, used_bytes, min(cpus, default=0))


def _upwards(place: tuple[str, str] | None) -> list[str]:
    """Our group, then each one above it."""
    if place is None:
        return []
    point, group = place
    groups = [group]
    while len(group) > len(point):
        group = os.path.dirname(group)
        groups.append(group)
    return groups


def _memory(
    group: str, read: Callable[[str], str], limit_name: str, used_name: str, cache_name: str
) -> list[tuple[int, int]]:
    limit, used = read(f"{group}/{limit_name}").strip(), read(f"{group}/{used_name}").strip()
    if not limit.isdecimal() or not used.isdecimal() or int(limit) >= _UNLIMITED_BYTES:
        return []
    stat = read(f"{group}/memory.stat").splitlines()
    cache = sum(int(line.split()[1]) for line in stat if line.startswith(cache_name))
    return [(int(limit), max(0, int(used) - cache))]


def _cpu_v2(text: str) -> list[int]:
    quota, _, period = text.strip().partition(" ")
    return [int(quota) * 1000 // int(period)] if quota.isdecimal() else []


def _cpu_v1(quota: str, period: str) -> list[int]:
    if not quota.strip().isdecimal() or not period.strip().isdecimal():
        return []  # -1 is no limit
    return [int(quota) * 1000 // int(period)]
