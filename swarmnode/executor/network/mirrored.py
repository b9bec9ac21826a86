"""Variables by which a task's programs find the mirrors in its network; never over its own.

What a task, its person or its project has set of an installer is left alone, all of it: half of
ours beside half of theirs would find nothing. A `uv.lock` names the index that it was made from;
with another one uv makes it anew, or refuses (`--locked`): there uv is told of no mirror, and so it
is where the project has settings of uv's.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from swarmnode import reach
from swarmnode.errors import OutputUnsafeError
from swarmnode.executor.disk.safe_files import open_file

_PYPI, _HUB = (f"http://{reach.MIRRORS[preset]}" for preset in ("pypi", "hf"))
_SIMPLE: Final = f"{_PYPI}/simple/"
_PIP: Final[Mapping[str, str]] = {
    "PIP_INDEX_URL": _SIMPLE,
    "PIP_TRUSTED_HOST": reach.MIRRORS["pypi"],
}
_UV: Final[Mapping[str, str]] = {"UV_DEFAULT_INDEX": _SIMPLE, "UV_INDEX_URL": _SIMPLE}
_HF: Final[Mapping[str, str]] = {"HF_ENDPOINT": _HUB}
_PIP_OWN: Final = (*_PIP, "PIP_NO_INDEX", "PIP_CONFIG_FILE")
_UV_OWN: Final = (*_UV, "UV_NO_INDEX", "UV_OFFLINE", "UV_CONFIG_FILE")
_PROXIES: Final = ("http_proxy", "all_proxy")
"""Programs would ask those for the mirrors, which exist in the task's network only."""
_PROJECT_BYTES_MAX: Final = 256 * 1024
_UV_FILES: Final = {"uv.lock": b"", "uv.toml": b"", "pyproject.toml": b"[tool.uv"}
"""And what in them means that there are settings of uv's."""


def variables(words: Sequence[str], taken: Collection[str], work: str) -> dict[str, str]:
    """For a task that may reach these; `taken` are variables that it has, `work` its folder."""
    found: dict[str, str] = {}
    if any(name.lower() in _PROXIES for name in taken):
        return found
    if reach.has_mirror(words, "pypi"):
        if not any(name in taken for name in _PIP_OWN):
            found |= _PIP
        if not any(name in taken for name in _UV_OWN) and not _has_own_uv(work):
            found |= _UV
    if reach.has_mirror(words, "hf") and not any(name in taken for name in _HF):
        found |= _HF
    return found


def _has_own_uv(work: str) -> bool:
    return any(_holds(work, name, mark) for name, mark in _UV_FILES.items())


def _holds(work: str, name: str, mark: bytes) -> bool:
    """Whether the file is there with these bytes in it; what cannot be read may have them."""
    if not os.path.lexists(f"{work}/{name}"):
        return False
    if not mark:
        return True
    try:
        fd = open_file(work, name)
    except OutputUnsafeError:
        return True
    with open(fd, "rb") as file:
        return mark in file.read(_PROJECT_BYTES_MAX)
