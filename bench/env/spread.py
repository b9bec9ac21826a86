"""An environment on its way to machines that do not have it, over slow lines."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.env import wheels
from bench.env.pool import ROOM, meet, type_at
from bench.env.sizes import Sizes
from storage.manifests.capability import parse_cap, text_of_address
from swarmnode.demo.launcher import LocalNode, LocalSwarm, new_root
from testnet.emulator.lab import EmulatedLab, emulated_lab, missing
from testnet.emulator.shape import LinkShape

_DELAY_MS: Final = 5.0
_QUEUE_BYTES: Final = 500_000
_PACKET_BYTES: Final = 9000
"""As in `bench firstday`: the emulator shares this machine's processors with all the nodes."""
_RUN_S: Final = 600
_BUILDER: Final = "builder"


def measure(root: Path, sizes: Sizes, _rounds: int) -> dict[str, object]:
    """See bench.env; once, whatever the rounds. OSError without root or /dev/net/tun."""
    if why := missing():
        raise OSError(f"bench env --only spread needs {why}")
    names = [_BUILDER, *(f"n{number}" for number in range(sizes.spread_nodes))]
    found = wheels.lay_out(root)
    with emulated_lab(names) as lab, _pool(lab, names, found) as swarm:
        builder, *others = swarm.nodes
        first, second = (
            _built(builder, wheels.project_with(root, name, sizes.spread_mb), found)
            for name in ("first", "second")
        )
        _slow_down(lab, names, sizes.line_mbit)
        alone = _alike(builder, others, first, second)
        one_s = _brought_s(builder, [alone], first)
        all_s = _brought_s(builder, others, second)
    return {
        "spread_one_s": round(one_s, 2),
        "spread_all_s": round(all_s, 2),
        "spread_8_vs_1": round(all_s / one_s, 3),
        "spread_nodes": sizes.spread_nodes,
        "spread_mb": sizes.spread_mb,
        "line_mbit": sizes.line_mbit,
    }


@contextmanager
def _pool(lab: EmulatedLab, names: Sequence[str], found: dict[str, str]) -> Iterator[LocalSwarm]:
    swarm = LocalSwarm(new_root(), profile="server", environ={**ROOM, **found})
    try:
        for name in names:
            swarm.add(name, lab.address(name))
        for node in swarm.nodes:
            inside = lab.inside(node.name)
            mtu = (*inside, "ip", "link", "set", "eth0", "mtu", str(_PACKET_BYTES))
            subprocess.run(mtu, check=True, capture_output=True)  # noqa: S603
            swarm.start(node, [*inside, sys.executable, "-m", "swarmnode.daemon"])
        meet(swarm)
        yield swarm
    finally:
        swarm.destroy()


def _built(builder: LocalNode, project: Path, found: dict[str, str]) -> dict[str, Any]:
    """What a task needs to see it."""
    words = ("env", "build", "pylock.toml", "-o", "json")
    line = msgspec.json.decode(
        type_at(builder, project, *words, environ={**os.environ, **found}), type=dict[str, Any]
    )
    built: dict[str, Any] = line["built"]
    return built


def _slow_down(lab: EmulatedLab, names: Sequence[str], line_mbit: float) -> None:
    """What was put is put: from here on lines are what they are."""
    line = LinkShape(rate_mbit=line_mbit, queue_bytes=_QUEUE_BYTES)
    for number, name in enumerate(names):
        lab.shape_uplink(name, line)
        lab.shape_downlink(name, line)
        for other in names[:number]:
            lab.shape(name, other, LinkShape(delay_ms=_DELAY_MS))


def _alike(
    builder: LocalNode,
    others: Sequence[LocalNode],
    first: dict[str, Any],
    second: dict[str, Any],
) -> LocalNode:
    """The machine that fetches alone: as badly off as the one that has most to fetch among all.

    That one keeps nothing of it for others; who keeps a part has less to fetch.
    """
    has_stranger = any(node.peer not in _holders(builder, second) for node in others)
    strangers = [node for node in others if node.peer not in _holders(builder, first)]
    return strangers[0] if has_stranger and strangers else others[0]


def _holders(builder: LocalNode, built: dict[str, Any]) -> set[str]:
    address = text_of_address(parse_cap(built["cap"]).address)
    return {row["holder"] for row in builder.client.get(f"/api/v1/objects/{address}")["shards"]}


def _brought_s(builder: LocalNode, nodes: Sequence[LocalNode], built: dict[str, Any]) -> float:
    """Until a task has run with it on each of them. Raises SystemExit where one has not."""
    began_s = time.monotonic()
    specs = [{"run": ["true"], "built": built, "require": [node.peer]} for node in nodes]
    tasks = [builder.client.call("POST", "/api/v1/tasks", spec)["task"] for spec in specs]
    for task in tasks:
        path = f"/api/v1/tasks/{task}/wait?timeout_s={_RUN_S}"
        ended = builder.client.get(path, timeout_s=_RUN_S + 5)
        if ended["state"] != "done":
            raise SystemExit(f"a machine did not bring the environment: {ended}")
    return time.monotonic() - began_s
