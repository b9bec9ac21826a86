"""Every bound of secrets, with its reason."""

from typing import Final

SECRET_BYTES_MAX: Final = 64 * 1024
"""One secret: keys and tokens are far below it, and a variable may have 128 KiB (execve(2))."""

SECRET_NAME_CHARS_MAX: Final = 64
"""Its name: also a file's and a variable's."""

SECRETS_PER_TASK_MAX: Final = 64
"""Secrets of one task: each is a file that is handed over by a descriptor."""

TASK_SECRETS_BYTES_MAX: Final = 1024 * 1024
"""All of one task together: with its arguments they fit the 2 MiB that a program starts with."""

SECRETS_PER_PERSON_MAX: Final = 256
"""Secrets that one person keeps on a machine: all are listed at once."""

SECRETS_GUARDED_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of the tasks of others that one machine keeps: what has no room is not guarded."""

SECRETS_GUARDED_PER_MEMBER_MAX: Final = 16 * 1024 * 1024
"""Of those that one machine brought: a thousand tasks of ten keys take a tenth."""
