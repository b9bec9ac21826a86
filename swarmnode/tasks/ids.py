"""Names of tasks: given once by the submitter, the same on every machine."""

from typing import Final, NewType

TaskId = NewType("TaskId", str)
"""Sixteen characters of lower-case base32, made from the task's key: also a folder name."""

_ALPHABET: Final = frozenset("abcdefghijklmnopqrstuvwxyz234567")


def is_task_id(text: str) -> bool:
    """Whether `text` has the form of a task id, so that it is safe as a file name."""
    return len(text) == 16 and all(char in _ALPHABET for char in text)
