"""Reads day.txt: steps, each one command with what must come of it written beside it.

## what a person wants
desk$ swarm obj put notes.txt      the command, in that machine's folder
exit 0                             its exit code
out (swarm:\\S+)                    a pattern that its output must have; {1} stands for the group
save cap                           ... under this name: {cap} in later commands
then box$ swarm obj cat {cap}      a command that shows the effect, tried until `out` matches
out hello
within 20                          for so many seconds
desk& swarmnode up                a command in the background: a daemon
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_COMMAND: Final = re.compile(r"(?P<then>then )?(?P<who>\w+)(?P<how>[$&!]) (?P<what>.+)")
WITHIN_S: Final = 15.0
"""How long an effect may take when the step does not say."""


@dataclass(slots=True)
class Command:
    """One command line and what it must print."""

    who: str
    what: str
    how: str = "$"
    """`$` runs it, `&` starts a daemon with it, `!` sends the daemon the signal of that name."""
    patterns: list[str] = field(default_factory=list)
    save: str = ""
    """The name of what the first pattern's group matched."""
    within_s: float = WITHIN_S


@dataclass(slots=True)
class Step:
    """What a person wants, the command for it, and the commands that show its effect."""

    title: str
    command: Command
    exit_code: int = 0
    effects: list[Command] = field(default_factory=list)


def read(path: Path) -> list[Step]:
    """All steps of a day. Raises ValueError for a line that is none of the above."""
    steps: list[Step] = []
    title = ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        word, _, rest = line.partition(" ")
        found = _COMMAND.fullmatch(line)
        if word == "##":
            title = rest
        elif found is not None:
            command = Command(found["who"], found["what"], found["how"])
            if found["then"]:
                steps[-1].effects.append(command)
            else:
                steps.append(Step(title, command))
        elif line and not line.startswith("#"):
            _detail(steps[-1], word, rest, f"{path.name}:{number}: {line}")
    return steps


def _detail(step: Step, word: str, rest: str, where: str) -> None:
    last = step.effects[-1] if step.effects else step.command
    if word == "exit":
        step.exit_code = int(rest)
    elif word == "out":
        last.patterns.append(rest)
    elif word == "save":
        last.save = rest
    elif word == "within":
        last.within_s = float(rest)
    else:
        raise ValueError(where)
