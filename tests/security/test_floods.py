"""Floods from other processes: nothing costs more than its own connection.

One victim suffers them all, one after the other, beside one honest peer. What depends on how fast
and how busy the machine is, is held to its bounds by the slow tests, which take a spoilt round
again; `python -m bench attack` prints it.
"""

import pytest
import trio

from bench import attack_figures
from bench.attack_figures import (
    INVALID_PER_S_MIN,
    MEMORY_MB_MAX,
    Verdict,
    frozen,
    invalid_per_cpu_s,
    newcomers_under,
    under,
)
from testnet.attack.attacker import DOOR, INSIDE
from testnet.attack.watch import Siege, watching

QUICK_S = 1.0
LONG_S = 5.0
DEAD_AFTER_S = 3.0
FROZEN = ("--dead-after", str(DEAD_AFTER_S))
TRIES = 2
"""A round that a busy machine spoilt is repeated."""


@pytest.fixture
def hardly_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long calls take without a flood matters only to tests of how prompt they are."""
    monkeypatch.setattr(attack_figures, "IDLE_S", 0.05)


IN_CI = ("silent", "stalled", "streams", "resets", "pings", "bombs", "segments", "junk")
IN_CI_TOO = ("forgeries", "calls", "cancels", "bodies", "replies", "half_frames")


def leaves_nothing(verdict: Verdict) -> None:
    """Every call was answered, memory stayed bounded, and what the flood took is free again."""
    assert verdict.failed == 0
    assert verdict.memory_mb <= MEMORY_MB_MAX
    assert verdict.tasks_left <= 0
    assert verdict.fds_left <= 0


async def is_prompt(watch: Siege, flood: str) -> None:
    """The above, and calls take no longer than they may."""
    verdicts: list[Verdict] = []
    for _ in range(TRIES):
        verdicts.append(await _under(watch, flood))
        leaves_nothing(verdicts[-1])
        if verdicts[-1].p99_ms <= verdicts[-1].p99_ms_max:
            return
    pytest.fail(f"{flood}: {[(round(v.p99_ms, 1), round(v.p99_ms_max, 1)) for v in verdicts]}")


async def _under(watch: Siege, flood: str) -> Verdict:
    if flood == "frozen":
        return await frozen(watch, DEAD_AFTER_S)
    return await under(watch, flood, LONG_S)


@pytest.mark.usefixtures("hardly_idle")
@pytest.mark.parametrize("floods", [IN_CI, IN_CI_TOO], ids=["first half", "second half"])
async def test_an_honest_peer_is_served_under_every_flood(floods: tuple[str, ...]) -> None:
    with trio.fail_after(120):
        async with watching() as watch:
            pid = watch.victim.process.pid
            for flood in floods:
                leaves_nothing(await under(watch, flood, QUICK_S))
            assert watch.victim.process.returncode is None
            assert pid == watch.victim.process.pid


@pytest.mark.parametrize("flood", ["silent", "silent_neighbours"])
async def test_newcomers_get_in_past_a_thousand_silent_sockets(flood: str) -> None:
    with trio.fail_after(120):
        async with watching() as watch:
            assert await newcomers_under(watch, flood, 20) >= 19


@pytest.mark.usefixtures("hardly_idle")
async def test_invalid_frames_are_refused_before_any_signature_is_checked() -> None:
    with trio.fail_after(60):
        async with watching() as watch:
            for flood in ("casts", "junk"):
                assert await invalid_per_cpu_s(watch, flood, QUICK_S) > 0


@pytest.mark.slow
async def test_invalid_frames_are_refused_by_the_ten_thousand() -> None:
    with trio.fail_after(60):
        async with watching() as watch:
            for flood in ("casts", "junk"):
                assert await invalid_per_cpu_s(watch, flood, LONG_S) >= INVALID_PER_S_MIN


@pytest.mark.usefixtures("hardly_idle")
async def test_a_frozen_peer_costs_its_own_connection_only() -> None:
    with trio.fail_after(60):
        async with watching(*FROZEN) as watch:
            leaves_nothing(await frozen(watch, DEAD_AFTER_S))


@pytest.mark.slow
@pytest.mark.parametrize("flood", [*sorted({**DOOR, **INSIDE}), "frozen"])
async def test_an_honest_peer_is_served_under_a_long_flood(flood: str) -> None:
    with trio.fail_after(300):
        async with watching(*(FROZEN if flood == "frozen" else ())) as watch:
            await is_prompt(watch, flood)
            if flood != "frozen":
                assert await newcomers_under(watch, flood, 20) >= 19
