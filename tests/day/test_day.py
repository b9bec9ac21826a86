"""A lab's working day, typed as people type it: day.txt says what must come of each command."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from swarmnode.demo.launcher import new_root, processes_of
from tests.day.script import Command, Step, read

STEPS = read(Path(__file__).parent / "day.txt")
MACHINES = ("desk", "server", "laptop", "box")
COMMAND_S = 120
PAUSE_S, PAUSE_MAX_S = 0.5, 2.0
"""Between two looks: each is a program that starts, so the longer it takes the rarer they are."""


@dataclass(slots=True)
class Day:
    """Four machines in folders of their own, and what was remembered so far."""

    root: Path
    saved: dict[str, str] = field(default_factory=dict)
    daemons: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    broken: str = ""
    """The step that failed: those behind it would only repeat that."""

    def folder(self, who: str) -> Path:
        return self.root / who

    def environ(self, who: str) -> dict[str, str]:
        programs = Path(sys.executable).parent
        return {
            "PATH": f"{programs}:/usr/bin:/bin",
            "HOME": str(self.folder(who)),
            "SWARM_HOME": str(self.folder(who) / "s"),
            "SWARM_TIMERS__ORPHAN_GRACE_S": "20",
            "SWARM_STORAGE__MIN_FREE_GIB": "0.1",
            **{f"SWARM_{k}": v for k, v in os.environ.items() if k.startswith("DAY_")},
        }

    def run(self, command: Command) -> "subprocess.CompletedProcess[str]":
        line = re.sub(r"\{(\w+)\}", lambda found: self.saved[found[1]], command.what)
        return subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=self.folder(command.who), env=self.environ(command.who),
            capture_output=True, text=True, timeout=COMMAND_S, check=False,
        )  # fmt: skip

    def start(self, command: Command) -> None:
        with (self.folder(command.who) / "log").open("ab") as log:
            self.daemons[command.who] = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command.what}"],
                cwd=self.folder(command.who), env=self.environ(command.who),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def signal(self, command: Command) -> None:
        daemon = self.daemons.pop(command.who)
        os.killpg(daemon.pid, signal.Signals[f"SIG{command.what}"])
        daemon.wait(COMMAND_S)

    def close(self) -> None:
        for who in MACHINES:
            for pid in processes_of(self.folder(who)):
                os.kill(pid, signal.SIGKILL)
        for daemon in self.daemons.values():
            daemon.wait()


@pytest.fixture(scope="module")
def day() -> Iterator[Day]:
    made = Day(new_root())
    for who in MACHINES:
        made.folder(who).mkdir()
    try:
        yield made
    finally:
        made.close()


def said(done: "subprocess.CompletedProcess[str]") -> str:
    return done.stdout + done.stderr


def check(day: Day, command: Command, text: str) -> bool:
    found = [re.search(pattern, text, re.MULTILINE) for pattern in command.patterns]
    if not all(found):
        return False
    if command.save and found[0] is not None:
        day.saved[command.save] = found[0][1]
    return True


def shows(day: Day, effect: Command) -> str:
    """Try until it shows what it must; "" then, else what it showed at the end."""
    until_s, pause_s = time.monotonic() + effect.within_s, PAUSE_S
    while True:
        text = said(day.run(effect))
        if check(day, effect, text):
            return ""
        if time.monotonic() > until_s:
            return text
        time.sleep(pause_s)
        pause_s = min(PAUSE_MAX_S, 1.4 * pause_s)


@pytest.mark.parametrize(
    "step", STEPS, ids=[f"{number:02} {step.title}" for number, step in enumerate(STEPS, 1)]
)
def test_the_day_goes_as_it_is_written(day: Day, step: Step) -> None:
    assert not day.broken, f"an earlier step failed: {day.broken}"
    day.broken = step.title
    if step.command.how == "&":
        day.start(step.command)
    elif step.command.how == "!":
        day.signal(step.command)
    else:
        done = day.run(step.command)
        assert done.returncode == step.exit_code, f"{step.command.what}\n{said(done)}"
        assert check(day, step.command, said(done)), f"{step.command.patterns}\n{said(done)}"
    for effect in step.effects:
        shown = shows(day, effect)
        assert not shown, f"{effect.what}\n{effect.patterns}\n{shown}"
    day.broken = ""
