"""What one attack does to a victim, measured by an honest peer: shared by bench and tests."""

from dataclasses import dataclass
from typing import Final

from testnet.attack.victim import Health
from testnet.attack.watch import Sample, Siege

MEMORY_MB_MAX: Final = 512 * 1.048576
INVALID_PER_S_MIN: Final = 20_000
IDLE_S: Final = 0.7
CALM_WITHIN_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One flood: what calls took beside it, and what it left behind."""

    idle_p99_ms: float
    p50_ms: float
    p99_ms: float
    failed: int
    memory_mb: float
    tasks_left: int
    fds_left: int
    refused_per_cpu_s: float
    """Frames refused for each second of the victim's processor time, with all else it did."""

    @property
    def p99_ms_max(self) -> float:
        """What class 0 may take at most: twice the idle time, or 50 ms more."""
        return max(2 * self.idle_p99_ms, self.idle_p99_ms + 50)


async def under(watch: Siege, flood: str, seconds: float) -> Verdict:
    """The victim's life under a flood of so many seconds, and after it."""
    before = await watch.health()
    idle = await watch.sample(IDLE_S)
    await watch.attacker.onto(flood)
    began = await watch.health()
    sample = await watch.sample(seconds)
    ended = await watch.health()
    await watch.attacker.off()
    after = await watch.is_calm_again(before, CALM_WITHIN_S)
    refused = ended.casts_unknown + ended.refused - began.casts_unknown - began.refused
    rate = refused / max(0.001, (ended.cpu_ms - began.cpu_ms) / 1000)
    return _verdict(idle, sample, before, after, rate)


async def newcomers_under(watch: Siege, flood: str, count: int) -> int:
    """How many of so many honest newcomers get in while the flood goes on."""
    await watch.attacker.onto(flood)
    came = await watch.newcomers(count)
    await watch.attacker.off()
    return came


async def invalid_per_cpu_s(watch: Siege, flood: str, seconds: float) -> float:
    """Invalid frames refused inside one link per second of one core, no signature checked."""
    before = await watch.health()
    verdict = await under(watch, flood, seconds)
    after = await watch.health()
    if after.signatures_checked > before.signatures_checked:
        raise AssertionError(f"{flood}: signatures were checked")
    return verdict.refused_per_cpu_s


async def frozen(watch: Siege, dead_after_s: float) -> Verdict:
    """All attackers stop (SIGSTOP) with answers of 8 MiB on their way to them."""
    before = await watch.health()
    idle = await watch.sample(IDLE_S)
    await watch.attacker.onto("replies")
    watch.attacker.freeze()
    try:
        sample = await watch.sample(dead_after_s + 1)
        after = await watch.is_calm_again(before, CALM_WITHIN_S)
    finally:
        watch.attacker.thaw()
    await watch.attacker.off()
    return _verdict(idle, sample, before, after, 0.0)


def _verdict(
    idle: Sample, sample: Sample, before: Health, after: Health, refused_per_cpu_s: float
) -> Verdict:
    return Verdict(
        idle.p99_ms,
        sample.p50_ms,
        sample.p99_ms,
        sample.failed,
        sample.memory_mb,
        after.tasks - before.tasks,
        after.fds - before.fds,
        refused_per_cpu_s,
    )
