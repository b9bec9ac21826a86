"""Environments of conda made on the spot: a prefix with a tool, also as conda-pack packs it."""

import json
import platform
import tarfile
from pathlib import Path

SUBDIR = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}.get(platform.machine(), "other")
_UNPACK = """#!/usr/bin/env python
from conda_unpack_progress import progressbar
import os
prefix = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
with open(prefix + "/bin/tool") as file:
    text = file.read()
with open(prefix + "/bin/tool", "w") as file:
    file.write(text.replace("/a/place/to/be/replaced", prefix))
"""
"""Does what conda-pack's own script does, to the one file that has a path in it."""
PLACEHOLDER = "/a/place/to/be/replaced"


def make_prefix(folder: Path, *, subdir: str = SUBDIR, written: str = "") -> Path:
    """A prefix that knows itself as `written`, or as where it is."""
    for name in ("bin", "conda-meta", "share", "etc/conda/activate.d"):
        (folder / name).mkdir(parents=True)
    about = {"name": "tool", "version": "1.2", "subdir": subdir}
    (folder / "conda-meta/tool-1.2-0.json").write_text(json.dumps(about))
    (folder / "conda-meta/doc-1-0.json").write_text('{"name": "doc", "version": "1"}')
    (folder / "conda-meta/state").write_text('{"env_vars": {"BY_HAND": "x"}}')
    (folder / "share/words").write_text("words of conda\n")
    place = written or str(folder)
    (folder / "bin/tool").write_text(
        f'#!/bin/sh\ncat {place}/share/words\necho "$TOOL_DATA $BY_HAND"\n'
    )
    (folder / "bin/tool").chmod(0o755)
    (folder / "bin/again").symlink_to(folder / "bin/tool")
    (folder / "etc/conda/activate.d/tool.sh").write_text('export TOOL_DATA="$CONDA_PREFIX/share"\n')
    return folder


def pack(prefix: Path, archive: Path, *, root: str = "") -> Path:
    """As conda-pack does, with `root` as --arcroot: what its unpacker needs goes along."""
    (prefix / "bin/conda-unpack").write_text(_UNPACK)
    (prefix / "bin/conda-unpack").chmod(0o755)
    (prefix / "bin/conda_unpack_progress.py").write_text("progressbar = None\n")
    (prefix / "bin/again").unlink()
    (prefix / "bin/again").symlink_to("tool")
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for path in sorted(prefix.rglob("*")):
            tar.add(path, str(Path(root, path.relative_to(prefix))), recursive=False)
    return archive
