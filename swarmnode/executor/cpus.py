"""Which processors a job runs on: as many as it asked for, those with the least promised.

A program sees these and no others (`nproc`, `os.cpu_count`), so it starts as many threads as it
was given processors. How much of them it gets is the control group's affair.
"""

from collections.abc import Iterable, Sequence


def cpus_wanted(cpu_millis: int) -> int:
    """Whole processors for a share: half of one is still one to look at."""
    return max(1, -(-cpu_millis // 1000))


def choose(
    cpu_millis: int, usable: Sequence[int], taken: Iterable[tuple[Sequence[int], int]], turn: int
) -> tuple[int, ...]:
    """The least promised processors. `taken`: processors and millis of jobs that run.

    Among equals it goes round with `turn`, for other nodes of this machine choose, too.
    """
    promised = dict.fromkeys(usable, 0.0)
    for cpus, millis in taken:
        for cpu in cpus:
            if cpu in promised:
                promised[cpu] += millis / len(cpus)
    start = turn % max(1, len(usable))
    order = [*usable[start:], *usable[:start]]
    chosen = sorted(order, key=lambda cpu: promised[cpu])[: cpus_wanted(cpu_millis)]
    return tuple(sorted(chosen))


def as_list(cpus: Sequence[int]) -> str:
    """As the kernel writes such a set: 0-2,5."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and runs[-1][1] == cpu - 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
