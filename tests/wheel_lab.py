"""Wheels made on the spot: a wheel is a zip with a list of its files."""

import hashlib
import io
import tarfile
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, str],
    *,
    script: str = "",
    needs: tuple[str, ...] = (),
) -> Path:
    """A pure wheel in `folder`; `script` is NAME=MODULE:FUNCTION."""
    info = f"{name}-{version}.dist-info"
    requires = "".join(f"Requires-Dist: {need}\n" for need in needs)
    whole = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if script:
        whole[f"{info}/entry_points.txt"] = f"[console_scripts]\n{script.replace('=', ' = ')}\n"
    record = "".join(f"{path},{_hash(text)},{len(text.encode())}\n" for path, text in whole.items())
    whole[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in whole.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return wheel


def _hash(text: str) -> str:
    digest = urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}"


BACKEND = """
import base64, hashlib, zipfile

{act}

def _wheel(folder):
    info = "{name}-{version}.dist-info"
    name = "{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(folder + "/" + name, "w") as archive:
        archive.writestr("{name}.py", "x = 1\\n")
        archive.writestr(info + "/METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
        archive.writestr(info + "/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(info + "/RECORD", "")
    return name

def build_wheel(folder, config_settings=None, metadata_directory=None):
    return _wheel(folder)
"""  # noqa: E501


def make_sdist(
    folder: Path, name: str, version: str, act: str, *, says_what_it_needs: bool = True
) -> Path:
    """A source distribution that runs `act` whenever it is built; it needs no tool to build it."""
    root = f"{name}-{version}"
    project = f'[project]\nname = "{name}"\nversion = "{version}"\n' if says_what_it_needs else ""
    whole = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\n'
        f'backend-path = ["."]\n{project}',
        "backend.py": BACKEND.format(act=act, name=name, version=version),
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{root}.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        for path, text in whole.items():
            entry = tarfile.TarInfo(f"{root}/{path}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return file


def pinned(*wheels: Path) -> str:
    """The lock that holds these."""
    lines = []
    for wheel in wheels:
        name, version = wheel.name.removesuffix(".tar.gz").split("-")[:2]
        lines.append(
            f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
        )
    return "".join(lines)
