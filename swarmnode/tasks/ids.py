"""Names of tasks: given once by the submitter, the same on every machine."""

from base64 import b32encode
from collections.abc import Callable
from typing import Final, NewType

TaskId = NewType("TaskId", str)
"""Sixteen characters of lower-case base32: also a folder name and part of a log key."""

_RANDOM_BYTES: Final = 10
_ALPHABET: Final = frozenset("abcdefghijklmnopqrstuvwxyz234567")


def new_task_id(entropy: Callable[[int], bytes]) -> TaskId:
    """An id that nobody else has; `entropy(n)` gives n unpredictable bytes."""
    return TaskId(b32encode(entropy(_RANDOM_BYTES)).decode().lower())


def is_task_id(text: str) -> bool:
    """Whether `text` has the form of a task id, so that it is safe as a file name."""
    return len(text) == 16 and all(char in _ALPHABET for char in text)
