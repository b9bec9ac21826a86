"""The load: people who put, get, remove and submit from machines that are there."""

import hashlib
import io
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.keep.ledger import Job, Ledger, Put
from bench.keep.machine import Machine
from bench.keep.watch import MARK
from swarmnode.cli.client import ApiError, NodeUnreachableError

PUTS_PER_MINUTE: Final = 26.0
TASKS_PER_MINUTE: Final = 6.0
SIZES: Final = (10, 26)
"""Powers of two between which the sizes lie: 1 KiB to 64 MiB, as many small as large."""
FAILURES: Final = (ApiError, NodeUnreachableError, EOFError, OSError)
"""What an honest refusal or a machine that dies under a request looks like from outside."""


@dataclass(slots=True)
class Load:
    """Threads that go on until `stop`."""

    machines: Callable[[], Sequence[Machine]]
    ledger: Ledger
    stop: threading.Event
    seed: int
    wrong_bytes: int = 0
    trouble: list[str] = field(default_factory=list)
    """Kinds of refusals, for whoever reads the figures."""
    _jobs: int = 0

    def threads(self) -> list[threading.Thread]:
        """One for each thing people do, started by the caller."""
        return [
            threading.Thread(target=self._repeat, args=(self._put, PUTS_PER_MINUTE, 1)),
            threading.Thread(target=self._repeat, args=(self._get, PUTS_PER_MINUTE, 2)),
            threading.Thread(target=self._repeat, args=(self._remove, PUTS_PER_MINUTE / 4, 3)),
            threading.Thread(target=self._repeat, args=(self._submit, TASKS_PER_MINUTE, 4)),
        ]

    def _repeat(self, act: Callable[[random.Random], None], per_minute: float, salt: int) -> None:
        rng = random.Random(self.seed * 10 + salt)  # noqa: S311
        next_s = time.monotonic()
        while not self.stop.wait(max(0.0, next_s - time.monotonic())):
            next_s += 60.0 / per_minute
            try:
                act(rng)
            except FAILURES as error:
                self.ledger.count("refused")
                said = getattr(error, "code", type(error).__name__)
                if said not in self.trouble:
                    self.trouble.append(said)

    def _there(self, rng: random.Random) -> Machine:
        return rng.choice([machine for machine in self.machines() if not machine.is_out])

    def _put(self, rng: random.Random) -> None:
        data = rng.randbytes(int(2 ** rng.uniform(*SIZES)))
        machine = self._there(rng)
        receipt = machine.node.client.upload("/api/v1/objects?name=keep", io.BytesIO(data))
        digest = hashlib.sha256(data).hexdigest()
        self.ledger.puts.append(Put(receipt["cap"], receipt["address"], digest, machine.number))
        self.ledger.count("puts")

    def _get(self, rng: random.Random) -> None:
        put = self.ledger.choose(rng, lambda _: True)
        if put is None:
            return
        if read(self._there(rng), put.cap) != put.sha256:
            self.wrong_bytes += 1
        self.ledger.count("gets")

    def _remove(self, rng: random.Random) -> None:
        machine = self._there(rng)
        put = self.ledger.choose(rng, lambda put: put.owner == machine.number)
        if put is None:
            return
        put.is_doubtful = True
        machine.node.client.call("DELETE", f"/api/v1/objects/{put.address}")
        put.is_removed, put.is_doubtful = True, False
        self.ledger.count("removals")

    def _submit(self, rng: random.Random) -> None:
        self._jobs += 1
        number, seconds = self._jobs, rng.randint(2, 40)
        machine = self._there(rng)
        is_once = rng.random() < 0.2
        says = f"result {number}"
        script = (
            "n=$(cat checkpoint/step-*/n 2>/dev/null | sort -n | tail -1); n=${n:-0}; "
            f"while [ $n -lt {seconds} ]; do sleep 1; n=$((n+1)); echo $n; "
            "mkdir -p checkpoint/.t && echo $n >checkpoint/.t/n && mv checkpoint/.t "
            f"checkpoint/step-$n; done; echo {says}"
        )
        spec = {
            "run": ["/bin/sh", "-c", script, f"{MARK.decode()}{number}"],
            "shape": {"cpu": 0.1, "mem": "64M", "disk": "64M"},
            "checkpoint": {"dir": "checkpoint", "every_s": 2},
            "effects": "once" if is_once else "idempotent",
        }
        accepted = machine.node.client.call("POST", "/api/v1/tasks?detach=1", spec)
        task, warned = accepted["task"], accepted["note"]
        self.ledger.jobs.append(Job(task, number, machine.number, is_once, says, warned))
        self.ledger.count("tasks")


def read(machine: Machine, cap: str) -> str:
    """The SHA-256 of what a machine gives for a capability. Raises FAILURES."""
    digest = hashlib.sha256()
    for piece in machine.node.client.download("/api/v1/objects/read", {"cap": cap}):
        digest.update(piece)
    return digest.hexdigest()
