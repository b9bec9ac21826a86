"""How large the packages of a lock are, where it says so: what a build of them will need."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_FILE: Final = "file://"


def wheel_bytes(table: Mapping[str, Any], folder: Path) -> int:
    """Of a uv.lock or pylock.toml in that folder: the largest file of each package, together.

    0 where one of them does not say it: then nobody knows. Some are for other machines.
    """
    packages = [*(table.get("package") or ()), *(table.get("packages") or ())]
    sizes = [_largest(package, folder) for package in packages if _has_files(package)]
    return sum(sizes) if all(sizes) else 0


def _has_files(package: Mapping[str, Any]) -> bool:
    return bool(package.get("wheels") or package.get("sdist"))


def _largest(package: Mapping[str, Any], folder: Path) -> int:
    files = package.get("wheels") or [package["sdist"]]
    return max(_size_of(file, folder) for file in files)


def _size_of(file: Mapping[str, Any], folder: Path) -> int:
    if isinstance(size := file.get("size"), int):
        return max(0, size)
    place = str(file.get("path") or file.get("url") or "")
    if not place or "://" in place.removeprefix(_FILE):
        return 0
    try:
        return os.stat(folder / place.removeprefix(_FILE)).st_size
    except OSError:  # it is where the build will look, perhaps
        return 0
