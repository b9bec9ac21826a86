"""The tree of trio tasks with where each one waits: what SIGUSR1 prints."""

from collections.abc import Iterator

import trio

FRAMES_SHOWN = 3
"""Innermost frames of a task: enough to see what it waits for."""


def dump_tree() -> str:
    """One task per line, children indented, with the innermost lines of its stack."""
    root = trio.lowlevel.current_root_task()
    return "" if root is None else "".join(_lines(root, 0))


def _lines(task: trio.lowlevel.Task, depth: int) -> Iterator[str]:
    frames = [frame for frame, _ in task.iter_await_frames()]
    places = [f"{f.f_code.co_qualname}:{f.f_lineno}" for f in frames[-FRAMES_SHOWN:]]
    yield f"{'  ' * depth}{task.name}  [{' > '.join(places)}]\n"
    for nursery in task.child_nurseries:
        for child in sorted(nursery.child_tasks, key=lambda sibling: sibling.name):
            yield from _lines(child, depth + 1)
