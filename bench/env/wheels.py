"""Packages of a size that nothing makes smaller, and a project that names them, with hashes."""

import hashlib
import os
import struct
import zlib
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import BinaryIO, Final

_MB: Final = 1_000_000
_FILE_BYTES: Final = 100_000
_1980: Final = 0x21
"""The first of January, as archives write it."""
_WHEEL_MB: Final = 100
"""A package has no more: one that has gigabytes is unpacked by one thread."""


def lay_out(home: Path) -> dict[str, str]:
    """A place for packages, and the variables with which they are found there and nowhere else."""
    (home / "wheels").mkdir()
    return {"UV_FIND_LINKS": str(home / "wheels"), "UV_NO_INDEX": "1"}


def project_with(home: Path, name: str, mb: int) -> Path:
    """A project whose packages have that size together; its lock says where they lie."""
    project = home / name
    project.mkdir()
    lines = ['lock-version = "1.0"', 'created-by = "bench"']
    for number, at in enumerate(range(0, mb, _WHEEL_MB)):
        wheel = _wheel(home / "wheels", f"{name}{number}", min(_WHEEL_MB, mb - at))
        with open(wheel, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        lines += [
            "[[packages]]", f'name = "{name}{number}"', 'version = "1.0"',
            f'wheels = [{{ url = "{wheel.as_uri()}", size = {wheel.stat().st_size}, '
            f'hashes = {{ sha256 = "{digest}" }} }}]',
        ]  # fmt: skip
    (project / "pylock.toml").write_text("\n".join(lines) + "\n")
    return project


def _wheel(folder: Path, name: str, mb: int) -> Path:
    about, record = f"{name}-1.0.dist-info", list[str]()
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with open(wheel, "wb") as file:
        archive = StoredZip(file)

        def add(path: str, data: bytes) -> None:
            archive.add(path, data)
            digest = urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
            record.append(f"{path},sha256={digest},{len(data)}\n")

        for number in range(max(1, mb * _MB // _FILE_BYTES)):
            add(f"{name}/part{number % 20:02}/{number:05}.bin", os.urandom(_FILE_BYTES))
        add(f"{name}/__init__.py", b"")
        told = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        add(f"{about}/METADATA", told.encode())
        told = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        add(f"{about}/WHEEL", told.encode())
        archive.add(f"{about}/RECORD", f"{''.join(record)}{about}/RECORD,,\n".encode())
        archive.end()
    return wheel


class StoredZip:
    """An archive of files that are not made smaller; see APPNOTE.TXT of PKWARE, 4.3."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._names = file, list[bytes]()
        """Entries of the list of names that stands at its end."""

    def add(self, name: str, data: bytes) -> None:
        """One more file, of less than 4 GiB as the whole."""
        raw, at = name.encode(), self._file.tell()
        about = struct.pack(
            "<5H3L2H", 20, 0, 0, 0, _1980, zlib.crc32(data), len(data), len(data), len(raw), 0
        )
        self._file.write(b"PK\x03\x04" + about + raw + data)
        place = struct.pack("<3H2L", 0, 0, 0, 0o100644 << 16, at)
        self._names.append(b"PK\x01\x02\x14\x03" + about + place + raw)

    def end(self) -> None:
        """All are there."""
        at, names = self._file.tell(), b"".join(self._names)
        count = len(self._names)
        about = struct.pack("<4H2LH", 0, 0, count, count, len(names), at, 0)
        self._file.write(names + b"PK\x05\x06" + about)
