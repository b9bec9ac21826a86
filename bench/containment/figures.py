"""`python -m bench containment`: what the sandbox costs and what comes through it.

cold_ms, bwrap_ms, cold_vs_bwrap
    from the order to start until the program's first output, nothing being ready: the executor's,
    and bubblewrap's own with the same options, control groups, mounts and work disk (start.py)
leaked, and leaked_<what>
    what is left after a thousand jobs whose node was killed at random, once it has come back for
    the last time (leaks.py); `seed` repeats the deaths
rpc_idle_p99_ms, rpc_<task>_p99_ms, rpc_<task>_bound_ms
    calls of the most urgent class to a node that runs nothing, and while it runs that hostile task;
    the bound is max(2 x idle, idle + 50 ms) (hostile.py)
"""

from bench.containment import hostile, leaks, start

JOBS = 1000
STARTS_LEAST = 30


def measure(rounds: int, jobs: int = JOBS, seed: int = 1) -> dict[str, object]:
    """All figures; some minutes."""
    return {
        **start.measure(max(STARTS_LEAST, rounds)),
        **leaks.measure(jobs, seed),
        **hostile.measure(rounds),
    }
