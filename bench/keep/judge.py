"""Reads everything back and says what was not kept."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bench.keep.ledger import Job, Ledger, Put
from bench.keep.load import FAILURES, read
from bench.keep.machine import Machine, pause
from swarmnode.cli.client import ApiError

_ERROR: Final = re.compile(r"[\w.]*(Error|Exception|Interrupt|Group)\b.*: ")


@dataclass(slots=True)
class Judge:
    """`owner_of` leads from a machine's number to the machine where its owner is now."""

    ledger: Ledger
    machines: Sequence[Machine]
    owner_of: Mapping[int, Machine]
    lost: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    tasks_lost: list[str] = field(default_factory=list)
    wrong_bytes: int = 0
    once_failed: int = 0
    unguarded_gone: int = 0

    def judge(self) -> None:
        """Everything, from machines that did not put it where there are others."""
        for number, put in enumerate(self.ledger.puts):
            reader = self.machines[number % len(self.machines)]
            if put.is_removed:
                self._must_be_gone(put, reader)
            elif not put.is_doubtful:
                self._must_be_there(put, reader)
        for job in self.ledger.jobs:
            self._must_have_ended(job)

    def _must_be_there(self, put: Put, reader: Machine) -> None:
        problem = ""
        for _ in range(3):
            try:
                self.wrong_bytes += read(reader, put.cap) != put.sha256
                return
            except FAILURES as error:
                problem = str(error)
            pause(1.0)
        self.lost.append(f"{put.address} put at m{put.owner}, read at m{reader.number}: {problem}")

    def _must_be_gone(self, put: Put, reader: Machine) -> None:
        try:
            stat = reader.node.client.get(f"/api/v1/objects/{put.address}")
        except ApiError as error:
            if error.status == 404:
                return
            raise
        if stat["shards_live"] >= stat["k"]:
            names = {one.node.peer: f"m{one.number}" for one in self.machines}
            holders = (names.get(x["holder"], "?") for x in stat["shards"] if x["alive"])
            at = ", ".join(holders)
            self.returned.append(f"{put.address} put at m{put.owner}, {stat['k']} of it at {at}")

    def _must_have_ended(self, job: Job) -> None:
        client = self.owner_of[job.owner].node.client
        try:
            seen: dict[str, Any] = client.get(
                f"/api/v1/tasks/{job.task}/wait?timeout_s=60", timeout_s=70
            )
            said = b"".join(client.stream(f"/api/v1/tasks/{job.task}/logs?stream=stdout"))
        except FAILURES as error:
            if job.warned and getattr(error, "code", "") == "task_unknown":
                self.unguarded_gone += 1  # its submitter was told that this could be
                return
            self.tasks_lost.append(f"{job.task} of m{job.owner}: {error}")
            return
        if seen["state"] == "failed" and job.is_once:
            self.once_failed += 1  # it says so, and did not run twice
        elif seen["state"] != "done" or job.says.encode() not in said:
            rest = f"the rest of its log: {seen.get('log_at') or 'with nobody'}"
            told = (seen["state"], seen.get("detail", ""), *seen["history"], said[-40:], rest)
            lines = [str(x) for x in told]
            self.tasks_lost.append(f"{job.task} of m{job.owner}: " + "\n  ".join(lines))


def tell(figures: Mapping[str, object], details: Mapping[str, Sequence[str]]) -> None:
    """The figures on standard output, what they count on standard error."""
    for name, lines in details.items():
        for line in lines:
            print(f"{name}: {line}", file=sys.stderr)
    json.dump(figures, sys.stdout)


def tracebacks(machines: Sequence[Machine]) -> list[str]:
    """Machine and last line of every traceback in a log."""
    found = []
    for machine in machines:
        log = machine.home / "node.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        for at, line in enumerate(lines):
            if line.startswith("Traceback") or "Exception Group Traceback" in line:
                rest = (x.lstrip(" |") for x in lines[at + 1 :])
                last = next((x for x in rest if _ERROR.match(x)), "")
                found.append(f"m{machine.number}: {last}")
    return found
