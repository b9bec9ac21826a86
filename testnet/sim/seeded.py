"""Run a trio program on virtual time so that one seed always gives one run.

Trio shuffles runnable tasks with dice of its own. Two private names of trio (pinned; 0.35:
https://github.com/python-trio/trio/issues/890) make that shuffle repeatable, and two more let time
go in steps; they are used here and nowhere else, and tests/sim/test_seeded.py fails when a new
trio no longer honours them.
"""

import gc
import math
import random
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import ParamSpec, TypeVar

import trio
import trio.testing
from trio._core import _run as trio_run

ResultT = TypeVar("ResultT")
ParamsT = ParamSpec("ParamsT")


def run_seeded(
    seed: int, main: Callable[[], Awaitable[ResultT]], *, step_s: float = 0.0
) -> ResultT:
    """Run `main` to its end: tasks are scheduled by `seed`, sleeping takes no real time.

    With `step_s` timers go off at its multiples only, late by up to one step as on a busy machine.
    What falls into one step happens in an order that the seed decides, and costs much less.
    What would be done in a thread is done at once.
    What `main` raises is raised here with a note that names the seed.
    """
    clock = trio.testing.MockClock(autojump_threshold=0)
    if step_s:
        _go_in_steps(clock, step_s)
    before = trio_run._ALLOW_DETERMINISTIC_SCHEDULING
    dice = trio_run._r.getstate()
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    trio_run._r.setstate(random.Random(seed).getstate())  # noqa: S311
    threads, trio.to_thread.run_sync = trio.to_thread.run_sync, _at_once  # type: ignore[assignment]
    try:
        return trio.run(main, clock=clock)
    except BaseException as error:
        error.add_note(f"seed={seed}")
        raise
    finally:
        trio.to_thread.run_sync = threads
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = before  # type: ignore[misc]
        trio_run._r.setstate(dice)


async def _at_once(work: Callable[..., ResultT], *arguments: object, **_how: object) -> ResultT:
    """In place of a thread: virtual time would run away while one works."""
    await trio.lowlevel.checkpoint()
    return work(*arguments)


def collect_rarely() -> None:
    """For a process that runs simulations: its collector walks through whole swarms.

    Of those hardly anything is garbage in cycles, and looking for it was up to a tenth of a run.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _go_in_steps(clock: trio.testing.MockClock, step_s: float) -> None:
    """Have the clock jump to the first multiple of `step_s` at which something is due."""
    now_s = 0.0

    def current_time() -> float:
        return now_s

    def autojump() -> None:
        nonlocal now_s
        due_s = trio_run.GLOBAL_RUN_CONTEXT.runner.deadlines.next_deadline()
        if now_s < due_s < math.inf:
            now_s = max(due_s, math.ceil(due_s / step_s) * step_s)

    clock.current_time = current_time  # type: ignore[method-assign]
    clock._autojump = autojump  # type: ignore[method-assign]


async def until(is_so: Callable[[], bool], *, within_s: float, look_s: float = 0.01) -> float:
    """Look now and then, on virtual time, until it is so; returns how many seconds it took.

    Raises trio.TooSlowError.
    """
    start_s = trio.current_time()
    for _ in range(round(within_s / look_s) + 1):
        if is_so():
            return trio.current_time() - start_s
        await trio.sleep(look_s)
    raise trio.TooSlowError(f"not so within {within_s} s")


async def until_slowly(is_so: Callable[[], bool], within_s: float) -> float:
    """The same for what takes long, or longer to look at: ten times a second."""
    return await until(is_so, within_s=within_s, look_s=0.1)


def simulated(test: Callable[ParamsT, Awaitable[ResultT]]) -> Callable[ParamsT, ResultT]:
    """Make an async test an ordinary one that runs on virtual time; its `seed` if it takes one."""

    @wraps(test)
    def run(*args: ParamsT.args, **kwargs: ParamsT.kwargs) -> ResultT:
        seed = kwargs.get("seed", 0)
        assert isinstance(seed, int)
        return run_seeded(seed, partial(test, *args, **kwargs))

    return run
