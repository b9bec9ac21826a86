"""The bench itself, in namespaces of its own: `... -m bench.keep.inside MINUTES SEED LOGS ROOT`."""

import os
import random
import shutil
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from bench.keep import QUIET_S, judge, watch
from bench.keep.faults import START_S, Faults
from bench.keep.ledger import Ledger
from bench.keep.load import Load
from bench.keep.machine import LEASE_GRACE_S, Machine, command, pause
from p2p.identity.issue import DAY_MS, Grant, Names
from p2p.identity.key_files import load_key_file
from swarmnode.demo.launcher import LocalSwarm
from swarmnode.home import enrol
from swarmnode.home.folders import Home
from swarmnode.home.recover import recover

NODES = 7
CALM_S = 300.0
"""A whole round of faults; shorter runs scale what happens to it."""


class KeepSwarm(LocalSwarm):
    """One lab, a person for each machine; a machine that replaces a lost one is its owner's."""

    seed: bytes = b""
    """The key of the person whose machine is made next; empty for somebody new."""

    def _enrol(self, home: Path, names: Names) -> str:
        place, now_ms = home_at(home), time.time_ns() // 1_000_000
        names = replace(names, person=names.machine)
        if not self.nodes:
            return enrol.found_network(place, names, os.urandom, now_ms).peer
        first = self.nodes[0]
        grant = Grant(1, DAY_MS, DAY_MS)
        invite = enrol.make_invite(
            home_at(first.home), [first.listen], grant, os.urandom, now_ms
        )  # fmt: skip
        if self.seed:
            return recover(place, self.seed, invite, names, os.urandom, now_ms).peer
        return enrol.join(place, invite, names, os.urandom, now_ms).peer


def home_at(path: Path) -> Home:
    """The home of a node that LocalSwarm made there."""
    return Home(path, path, path / "cache", path / "run")


class Bench:
    """Builds the lab, lets things happen, judges."""

    def __init__(self, minutes: float, seed: int, logs: Path | None, root: Path) -> None:
        self._seconds, self._seed, self._logs, self._root = minutes * 60.0, seed, logs, root
        self._swarm = KeepSwarm(root)
        self._machines: list[Machine] = []
        self._all: list[Machine] = []
        """Those that are gone, too."""
        self._owner_of: dict[int, Machine] = {}
        self._seeds: dict[int, bytes] = {}
        """The keys of all persons, by machine: what their recovery phrases say."""
        self._broken = False
        self._ledger, self._stop = Ledger(), threading.Event()

    def run(self) -> None:
        """All of it; prints the figures as JSON."""
        command("mount", "--make-rshared", "/")  # as on a machine: what is unmounted is gone
        command("ip", "link", "set", "lo", "up")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        for _ in range(NODES):
            self._machines.append(self._founded())
        for machine in self._machines:
            machine.start(START_S)
        load = Load(lambda: self._machines, self._ledger, self._stop, self._seed)
        faults = Faults(
            self._machines, self._replaced, self._stop,
            random.Random(self._seed),  # noqa: S311
            self._note,
            min(1.0, self._seconds / CALM_S),
        )  # fmt: skip
        seen = watch.Watch(lambda: [machine.home for machine in self._all], self._stop)
        threads = [
            *load.threads(), *faults.threads(),
            threading.Thread(target=seen.run), threading.Thread(target=self._supervise),
        ]  # fmt: skip
        threading.excepthook = self._broke
        for thread in threads:
            thread.start()
        pause(self._seconds)
        self._stop.set()
        for thread in threads:
            thread.join()
        if self._broken:
            raise RuntimeError("a thread of the bench ended early: its figures would be wrong")
        self._rest()
        self._judge(load, faults, seen)

    def _broke(self, error: threading.ExceptHookArgs) -> None:
        self._broken = True
        threading.__excepthook__(error)

    def _supervise(self) -> None:
        while not self._stop.wait(1.0):
            for machine in list(self._machines):
                machine.supervise(START_S)

    def _rest(self) -> None:
        until_s = time.monotonic() + QUIET_S
        while time.monotonic() < until_s:
            for machine in self._machines:
                machine.supervise(START_S)
            pause(1.0)

    def _founded(self) -> Machine:
        machine = Machine(len(self._all) + 1, self._root, self._swarm, self._logs)
        machine.make()
        self._all.append(machine)
        self._seeds[machine.number] = load_key_file(home_at(machine.home).member_key).seed()
        self._owner_of[machine.number] = machine
        return machine

    def _replaced(self, gone: Machine) -> Machine:
        self._swarm.seed = self._seeds[gone.number]  # as its owner has it on paper
        machine = self._founded()
        self._swarm.seed = b""
        machine.start(START_S)
        self._note(f"{machine.home.name} for {gone.home.name}")
        for number, where in self._owner_of.items():
            if where is gone:
                self._owner_of[number] = machine
        return machine

    def _note(self, what: str) -> None:
        if self._logs is not None:
            with (self._logs / "events.log").open("a") as events:
                print(f"{datetime.now(UTC):%H:%M:%S} {what}", file=events)

    def _judge(self, load: Load, faults: Faults, seen: watch.Watch) -> None:
        verdict = judge.Judge(self._ledger, self._machines, self._owner_of)
        verdict.judge()
        traces = judge.tracebacks(self._machines)
        figures = {
            "minutes": round(self._seconds / 60.0, 1), "seed": self._seed, "nodes": NODES,
            "faults": faults.counts, "load": self._ledger.counts, "refusals": sorted(load.trouble),
            "acknowledged_lost": len(verdict.lost), "removed_returned": len(verdict.returned),
            "tasks_lost": len(verdict.tasks_lost), "once_failed": verdict.once_failed,
            "unguarded_gone": verdict.unguarded_gone,
            "attempts_overlapping_s": round(seen.overlaps.longest_s, 1),
            "lease_grace_s": LEASE_GRACE_S,
            "nodes_not_starting": sum(machine.not_started for machine in self._all),
            "nodes_ended": sum(len(machine.ended) for machine in self._all),
            "wrong_bytes": load.wrong_bytes + verdict.wrong_bytes, "tracebacks": len(traces),
        }  # fmt: skip
        judge.tell(
            figures,
            {
                "lost": verdict.lost,
                "returned": verdict.returned,
                "task lost": verdict.tasks_lost,
                "traceback": traces,
                "node ended": [f"m{m.number}\n{tail}" for m in self._all for tail in m.ended],
            },
        )

    def close(self) -> None:
        """End every node and let go of the disks; the namespaces end with this process."""
        for machine in self._all:
            machine.close()
        shutil.rmtree(self._root, ignore_errors=True)


def main(arguments: list[str]) -> int:
    """Run; nothing is left behind, whatever happens: see `bench.keep.measure`."""
    began = time.monotonic()
    logs = Path(arguments[2]) if arguments[2] else None
    if logs is not None:
        logs.mkdir(parents=True, exist_ok=True)
    bench = Bench(float(arguments[0]), int(arguments[1]), logs, Path(arguments[3]))
    try:
        bench.run()
        return 0
    finally:
        print(f"took {time.monotonic() - began:.0f} s", file=sys.stderr)
        bench.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
