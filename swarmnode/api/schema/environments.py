"""What the local API says about environments that were built for the pool."""

from typing import Any

import msgspec


class EnvironmentLine(msgspec.Struct, frozen=True):
    """One of them, as the asker has used it."""

    key: str
    """Made from its lock, version of Python and kind of machine; in hexadecimal digits."""
    source: str
    """The file that its lock was made from."""
    python: str
    machine: str
    packages: int
    size: int
    """Bytes of its folder as one object."""
    glibc: str
    """The newest version of the C library that its packages name; only one of conda brings none."""
    used_ms: int
    private: bool
    """Some package comes from where not everybody may read: only machines of our lab are told."""
    builder: str
    """The machine that signed it."""
    warm: tuple[str, ...]
    """Machines that have it laid out."""
    built: dict[str, Any]
    """What a task that uses it says under that key."""


class EnvironmentFound(msgspec.Struct, frozen=True):
    """Whether there is one of a key that may be used."""

    environment: EnvironmentLine | None
    building: str = ""
    """Else the machine of one's own lab, of several the first, that has it built just now."""


class EnvironmentWanted(msgspec.Struct, frozen=True):
    """One of that key."""

    key: str
    source: str = ""


class EnvironmentMade(msgspec.Struct, frozen=True):
    """A task has built it."""

    key: str
    task: str
    source: str = ""
    private: bool = False
