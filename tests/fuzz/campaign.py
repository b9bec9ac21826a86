"""Runs a target on mutants and keeps what showed something new.

New is an outcome nobody has seen: the error and its words without their numbers and quotes. That
needs no tracing, so it costs nothing, and follows a decoder from check to check.
"""

import base64
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.fuzz.mutate import mutated
from tests.fuzz.targets import Target

CORPUS: Final = Path(__file__).parent / "corpus"
CASE_S_MAX: Final = 0.5
"""Processor time for one input of at most 70 kB; all but a few take under a millisecond."""
_KEPT_BYTES_MAX: Final = 400


class FoundError(AssertionError):
    """A target did what it must not; `data` shows it."""

    def __init__(self, target: Target, data: bytes, what: str) -> None:
        super().__init__(f"{target.name}: {what}\n{base64.b64encode(data[:1000]).decode()}")
        self.data = data


def stored(target: Target) -> list[bytes]:
    """The corpus: inputs that once showed something new, and those that showed a bug."""
    path = CORPUS / f"{target.name}.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return [base64.b64decode(line) for line in lines]


def store(target: Target, inputs: list[bytes]) -> None:
    """Write the corpus, shortest first."""
    chosen = sorted(set(inputs), key=lambda data: (len(data), data))
    lines = [base64.b64encode(data).decode() + "\n" for data in chosen]
    (CORPUS / f"{target.name}.txt").write_text("".join(lines))


def outcome(target: Target, data: bytes) -> str:
    """What a target makes of an input. Raises FoundError for what must not happen."""
    began_s = time.thread_time()
    try:
        target.run(data)
        seen = "taken"
    except target.refusals as refusal:
        seen = f"{type(refusal).__name__} {_without_details(str(refusal))}"
    except Exception as bug:
        raise FoundError(target, data, f"{type(bug).__name__} escaped: {bug}") from bug
    took_s = time.thread_time() - began_s
    if took_s > CASE_S_MAX:
        raise FoundError(target, data, f"one input took {took_s:.2f} s")
    return seen


def campaign(target: Target, cases: int, seed: int) -> Iterator[bytes]:
    """Run so many mutants; yields those that showed something new."""
    dice = random.Random(f"{target.name}/{seed}")
    pool = [*target.good(), *stored(target)]
    seen = {outcome(target, data) for data in pool}
    for _ in range(cases):
        data = mutated(dice.choice(pool), pool, dice)
        shown = outcome(target, data)
        if shown not in seen:
            seen.add(shown)
            pool.append(data)
            if len(data) <= _KEPT_BYTES_MAX:
                yield data


def _without_details(text: str) -> str:
    return re.sub(r"'[^']*'|\"[^\"]*\"|[0-9A-Za-z]{20,}|-?\d[\d.,e+-]*", "*", text)[:80]
