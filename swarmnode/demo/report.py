"""How the demo tells what it measured: one PASS or FAIL line per step, or one JSON document."""

import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import msgspec

from swarmnode.cli.client import Document

SeenT = TypeVar("SeenT")
_FLAT: Final = re.compile(rb"\{[^{}]*\}")


class StepFailedError(Exception):
    """What was observed is not what the step promises."""


class StepResult(msgspec.Struct):
    """One step: what it measured, how long it took, why it failed."""

    name: str
    passed: bool = False
    seconds: float = 0.0
    measured: dict[str, object] = msgspec.field(default_factory=dict)
    problem: str = ""


class DemoReport(msgspec.Struct):
    """Collects steps; prints them as they end unless the output is JSON."""

    total: int
    as_json: bool
    results: list[StepResult] = msgspec.field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[StepResult]:
        """Time one step; StepFailedError inside marks it failed and is re-raised."""
        result = StepResult(name)
        self.results.append(result)
        began = time.monotonic()
        try:
            yield result
            result.passed = True
        except StepFailedError as error:
            result.problem = str(error)
            raise
        finally:
            result.seconds = time.monotonic() - began
            self._print(result)

    @property
    def passed(self) -> bool:
        """True when every step ran and passed."""
        return len(self.results) == self.total and all(r.passed for r in self.results)

    def say(self, text: str) -> None:
        """A line for people; nothing in JSON mode."""
        if not self.as_json:
            print(text, flush=True)

    def finish(self, header: dict[str, object]) -> None:
        """Print the JSON document, or the closing line."""
        if self.as_json:
            steps = [_as_json(result) for result in self.results]
            json.dump({"v": 1, "passed": self.passed, **header, "steps": steps}, sys.stdout)
            print()
            return
        good = sum(r.passed for r in self.results)
        took = sum(r.seconds for r in self.results)
        self.say(f"{good} of {self.total} steps passed in {took:.1f} s")

    def _print(self, result: StepResult) -> None:
        verdict = "PASS" if result.passed else "FAIL"
        shown = ", ".join(f"{key} {_short(value)}" for key, value in result.measured.items())
        line = f"{len(self.results)}/{self.total} {verdict} {result.name:<22} {shown}"
        self.say(f"{line} ({result.seconds:.1f} s)")
        if result.problem:
            self.say(f"    {result.problem}")


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return str(value)


def until(
    observe: Callable[[], SeenT | None], *, within_s: float, what: str, every_s: float = 0.1
) -> SeenT:
    """Poll `observe` until it returns something true; StepFailedError names `what` at the end."""
    deadline = time.monotonic() + within_s
    idle = threading.Event()
    while True:
        seen = observe()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise StepFailedError(f"{what} did not happen within {within_s:.0f} s")
        idle.wait(every_s)


def objects_in(log: bytes) -> list[Document]:
    """What a program said as flat JSON objects.

    A program that is killed may leave a line without its end, and the next attempt goes on there.
    """
    return [json.loads(flat) for flat in _FLAT.findall(log)]


def _as_json(result: StepResult) -> dict[str, object]:
    return {
        "step": result.name,
        "passed": result.passed,
        "seconds": round(result.seconds, 3),
        **result.measured,
        **({"problem": result.problem} if result.problem else {}),
    }
