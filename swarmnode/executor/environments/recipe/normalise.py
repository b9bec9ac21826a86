"""Takes out of a built environment what differs between two builds of one lock.

Times and paths of the builder go. Compiled modules are never checked against their sources again:
a timestamp would be wrong as soon as the folder is laid out elsewhere, and every import would
compile. Runs by the environment's own interpreter.
"""

import compileall
import csv
import io
import os
import py_compile
import sys
import sysconfig

_GONE = {"uv_cache.json", "uv_build.json", "direct_url.json"}
_LEFT_OVER = ("venv/.lock", "venv/CACHEDIR.TAG", "venv/.gitignore")


def normalise(top: str) -> None:
    """The folder in place; the site packages must lie in its venv/."""
    site = sysconfig.get_path("purelib")
    for name in sorted(os.listdir(site)):
        if name.endswith(".dist-info"):
            _tidy(os.path.join(site, name))
    _without_version(os.path.join(sys.prefix, "pyvenv.cfg"))
    for name in _LEFT_OVER:
        path = os.path.join(top, name)
        if os.path.exists(path):
            os.unlink(path)
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    for folder in (os.path.dirname(os.__file__), site):
        # False where a package brings templates that are no Python: no fault of the build
        compileall.compile_dir(folder, quiet=2, workers=os.cpu_count() or 1, invalidation_mode=mode)
    _even(top)


def _tidy(info: str) -> None:
    for name in _GONE & set(os.listdir(info)):
        os.unlink(os.path.join(info, name))
    record = os.path.join(info, "RECORD")
    if not os.path.exists(record):
        return
    with open(record, newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    kept = [r for r in rows if os.path.basename(r[0]) not in _GONE and not r[0].endswith(".pyc")]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(sorted(kept))
    with open(record, "w", newline="") as file:
        file.write(out.getvalue())


def _without_version(config: str) -> None:
    with open(config) as file:
        lines = [line for line in file if not line.startswith("uv =")]
    with open(config, "w") as file:
        file.writelines(lines)


def _even(top: str) -> None:
    """Links from where they stand, one mode for files, one for programs and folders."""
    for folder, folders, names in os.walk(top):
        for name in (*folders, *names):
            path = os.path.join(folder, name)
            if os.path.islink(path):
                _relink(path, top)
            elif os.path.isdir(path):
                os.chmod(path, 0o755)
            else:
                os.chmod(path, 0o755 if os.stat(path).st_mode & 0o111 else 0o644)


def _relink(path: str, top: str) -> None:
    """An object holds no link by a whole path; one that leads out would mean nothing elsewhere."""
    target = os.readlink(path)
    if not target.startswith("/"):
        return
    os.unlink(path)
    if target.startswith(top + "/"):
        os.symlink(os.path.relpath(target, os.path.dirname(path)), path)


if __name__ == "__main__":
    normalise(sys.argv[1])
