"""Where groups of jobs can be made: below our own group, as far as it is ours. Node-side.

Version 2: https://docs.kernel.org/admin-guide/cgroup-v2.html (a group that hands controllers to
its children may hold no processes, so the node first moves itself into a leaf).
"""

import os
from collections.abc import Callable, Mapping
from typing import Final

from swarmnode.executor.kernel.cgroup import read_control, try_write
from swarmnode.resources.cgroup_paths import V2, own_groups

V1_CONTROLLERS: Final = ("memory", "pids", "cpu", "cpuacct", "freezer", "blkio")
_HANDED_DOWN: Final = ("memory", "pids", "cpu", "io")
LEAF: Final = "swarm-node"
"""Where the node moves itself on version 2, so that its own group may have children."""


class Parents:
    """`dirs` by controller, and per controller why not."""

    def __init__(self, dirs: Mapping[str, str], troubles: Mapping[str, str]) -> None:
        self.dirs = dict(dirs)
        self.troubles = dict(troubles)
        """By controller, or by limit where only that cannot be had."""
        self.is_v1 = False
        """Version 1 has controllers here: another remedy than for version 2 where one is closed."""

    def plan(self, name: str) -> dict[str, str]:
        """The directories a job of that name will have; nothing is made yet."""
        return {kind: f"{parent.rstrip('/')}/{name}" for kind, parent in self.dirs.items()}


def find_parents(
    mountinfo: str,
    membership: str,
    may_write: Callable[[str], bool] = lambda path: os.access(path, os.W_OK),
) -> Parents:
    """Read /proc/self/mountinfo and /proc/self/cgroup: our own group in every hierarchy."""
    parents = Parents({}, {})
    for kind, (_, own) in own_groups(mountinfo, membership).items():
        if kind not in (V2, *V1_CONTROLLERS):
            continue
        parents.is_v1 = parents.is_v1 or kind != V2
        own = own.removesuffix("/" + LEAF) if kind == V2 else own
        if may_write(own):
            parents.dirs[kind] = own
        else:
            parents.troubles[kind] = f"{own} is not ours to write"
    return parents


def hand_down_controllers(parents: Parents, pid: int) -> None:
    """Version 2: let children of our group have memory, pids, cpu and io limits.

    Moves this process into the leaf group where the rule on inner processes asks for it. What
    cannot be had is noted in `parents.troubles`.
    """
    base = parents.dirs.get(V2)
    missing = _not_handed_down(base) if base is not None else []
    if not (base and missing):
        return
    if os.path.exists(base + "/cgroup.type"):  # every group but the root of all
        _move_into_leaf(base, pid)
    for name in missing:
        if not try_write(base + "/cgroup.subtree_control", "+" + name):
            parents.troubles[name] = f"{base} holds other processes, or {name} is not delegated"


def _move_into_leaf(base: str, pid: int) -> None:
    if not os.path.isdir(base + "/" + LEAF):
        os.mkdir(base + "/" + LEAF)
    try_write(base + "/" + LEAF + "/cgroup.procs", str(pid))


def _not_handed_down(base: str) -> list[str]:
    """Controllers that our group has and its children have not."""
    have = read_control(base + "/cgroup.controllers").split()
    handed = read_control(base + "/cgroup.subtree_control").split()
    return [name for name in _HANDED_DOWN if name in have and name not in handed]
