"""`swarmnode demo`: sets the stage, runs the nine steps, leaves nothing behind."""

import os
import signal
import sys
from types import FrameType

from swarmnode.demo import steps
from swarmnode.demo.launcher import LocalNode, LocalSwarm, new_root
from swarmnode.demo.report import DemoReport, StepFailedError

SUBMITTER = "lea"
ENVIRONMENT = "demo"
WORKERS = ("ada", "bob", "cy", "dan", "eve", "fay", "gus", "hal", "ina", "jo", "kim", "max",
           "nia", "oz", "pam")  # fmt: skip


def run_demo(nodes: int, *, fast: bool, keep: bool, seed: int, as_json: bool) -> int:
    """All nine steps; the exit code: 0 when all pass, 1 when one fails, 130 on Ctrl-C."""
    report = DemoReport(steps.STEPS, as_json)
    # The training task runs in the Python that runs this: it need not be the system's.
    python = {f"SWARM_ENV__{ENVIRONMENT.upper()}__PATH": sys.prefix}
    swarm = LocalSwarm(new_root(), environ=python, keep=keep)
    signal.signal(signal.SIGTERM, _as_interrupt)
    report.say(
        f"{nodes} nodes on loopback under {swarm.root}; profile test: lost after 2 s instead of "
        "15 min, suspicion 3 s, leases of 6 s renewed every 2 s; every node is a site of its own"
    )
    try:
        submitter = _stage(swarm, nodes)
        _tell_limits(swarm, report)
        steps.Demo(swarm, report, seed, submitter, ENVIRONMENT, fast=fast).run()
    except StepFailedError as error:
        if not report.results or not report.results[-1].problem:
            report.say(f"FAIL {error}")
    except KeyboardInterrupt:
        report.say("interrupted: stopping the nodes")
        return 130
    finally:
        swarm.destroy()
    report.finish({"nodes": nodes, "seed": seed, "profile": swarm.profile})
    if keep:
        report.say(f"folders kept under {swarm.root}")
    return 0 if report.passed else 1


def _stage(swarm: LocalSwarm, nodes: int) -> LocalNode:
    first = swarm.add(WORKERS[0])
    for name in WORKERS[1 : nodes - 1]:
        swarm.add(name)
    submitter = swarm.add(SUBMITTER, COMPUTE__ENABLED="false")
    swarm.start(first)
    for node in swarm.nodes[1:]:
        swarm.start(node)
    swarm.wait_ready()
    return submitter


def _tell_limits(swarm: LocalSwarm, report: DemoReport) -> None:
    missing = swarm.nodes[0].client.get("/api/v1/status")["compute"]["not_enforced"]
    who = "root" if os.geteuid() == 0 else "a normal user"
    if not missing:
        report.say(f"running as {who}: every limit of a task is enforced")
    for limit, why in sorted(missing.items()):
        report.say(f"running as {who}: {limit} is not enforced: {why}")


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
