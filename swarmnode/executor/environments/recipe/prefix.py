"""Unpacks an environment of conda: to /env, which is its prefix when it is used.

The lock has the digest of the archive, and, of one that was not made to be moved, the path where it
was: tasks see it there as well. What conda-pack leaves to be run after a move is run here, in the
sandbox; so are the scripts that would set variables in a shell that has it activated.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys

import compiled  # type: ignore[import-not-found]
import elf  # type: ignore[import-not-found]
import oci  # type: ignore[import-not-found]
import unpack  # type: ignore[import-not-found]
from tarball import RefusedError, Tar  # type: ignore[import-not-found]

META = "conda-meta"
_MACHINES = {"linux-64": "x86_64", "linux-aarch64": "aarch64"}
_JSON_MAX = 8 << 20
_PACKAGES_MAX = 4096
_ROOTS_MAX = 8
_FOR_COMPILERS = {"sysroot"}
"""Folders of C libraries that programs are linked with, and never run with."""
_SHELLS = ("/bin/bash", "/usr/bin/bash", "/bin/sh")
_ACTIVATE = 'cd /; for file in "$1"/etc/conda/activate.d/*.sh; do . "$file" >&2; done; env -0'
_ACTIVATE_S = 60
_SHELLS_OWN = {"PATH", "PWD", "OLDPWD", "SHLVL", "_"}


def lay_out(top: str, digest: str, names: int, size: int) -> "dict[str, object]":
    """What is known of it once it is in `top`. Raises RefusedError, OSError."""
    archive = os.path.join(top, ".image")
    if not os.path.isfile(archive) or _digest_of(archive) != digest:
        raise RefusedError("it is not what the lock names")
    with open(archive, "rb") as file:
        plain = oci.Plain(oci.Part(file, 0, os.path.getsize(archive)), oci.Budget(size))
        os.unlink(archive)
        folder = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
        unpack.apply(folder, Tar(plain), [names])
        os.close(folder)
    _lift(top)
    packages = _packages(top)
    _run_unpack(top)
    _relink(top)
    compiled.settle(os.fsencode(top))
    needed = elf.needs_of(top, _FOR_COMPILERS)
    needs = "2.%d" % needed.glibc if needed.glibc else ""
    return {
        "python": next((text.split(" ")[1] for text in packages if text.startswith("python ")), ""),
        "machine": platform.machine(), "glibc": needs, "needs_glibc": needs, "uv": "",
        "needs_cpu": needed.cpu,
        "packages": packages,
    }  # fmt: skip


def _lift(top: str) -> None:
    """What conda-pack has packed in a folder (--arcroot) comes out of it."""
    for _ in range(_ROOTS_MAX):
        names = [name for name in os.listdir(top) if name != ".lock"]
        around = os.path.join(top, names[0] if len(names) == 1 else META)
        if os.path.basename(around) == META or os.path.islink(around) or not os.path.isdir(around):
            return
        emptied = os.path.join(top, ".lock.around")
        os.rename(around, emptied)
        for name in os.listdir(emptied):
            if name == ".lock":  # ours has that name
                raise RefusedError("it has a file .lock")
            os.rename(os.path.join(emptied, name), os.path.join(top, name))
        os.rmdir(emptied)


def _digest_of(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while True:
            piece = file.read(1 << 20)
            if not piece:
                return "sha256:" + digest.hexdigest()
            digest.update(piece)


def _packages(top: str) -> "list[str]":
    """`name version` of each. Raises RefusedError for those of another kind of machine."""
    folder = os.path.join(top, META)
    if os.path.islink(folder) or not os.path.isdir(folder):
        raise RefusedError("there is no %s in it: no environment of conda" % META)
    found = []
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if not name.endswith(".json") or os.path.islink(path) or not os.path.isfile(path):
            continue
        with open(path, "rb") as file:
            package = json.loads(file.read(_JSON_MAX))
        subdir = str(package.get("subdir") or "noarch")
        machine = _MACHINES.get(subdir, subdir)
        if machine not in (platform.machine(), "noarch"):
            raise RefusedError("it is for %s, this machine is %s" % (subdir, platform.machine()))
        found.append("%s %s" % (str(package.get("name"))[:64], str(package.get("version"))[:64]))
    if not found or len(found) > _PACKAGES_MAX:
        raise RefusedError("it has %d packages of conda" % len(found))
    return found


def _run_unpack(top: str) -> None:
    """By another Python than its own, which could not be written while it runs; what the script
    imports lies beside it."""
    script = os.path.join(top, "bin/conda-unpack")
    if os.path.isfile(script):
        done = subprocess.run([sys.executable, "-E", "-s", "-B", script], stdout=sys.stderr)
        if done.returncode:
            raise RefusedError("its conda-unpack ends with %d" % done.returncode)


def _relink(top: str) -> None:
    """An object holds no link by a whole path and none that leads out."""
    real = os.path.realpath(top)
    for folder, folders, names in os.walk(top):
        for name in (*folders, *names):
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                continue
            target = os.readlink(path)
            if target.startswith(top + "/"):
                os.unlink(path)
                os.symlink(os.path.relpath(target, folder), path)
            elif target.startswith("/") or not _is_below(real, os.path.realpath(path)):
                os.unlink(path)
                print("swarm: a link leads out and is left: %r" % path, file=sys.stderr)


def _is_below(top: str, path: str) -> bool:
    return path == top or path.startswith(top + "/")


def variables(top: str) -> "list[str]":
    """What activating it would set, as NAME=VALUE; none where its scripts fail."""
    before = {"PATH": "%s/bin:%s" % (top, os.defpath), "CONDA_PREFIX": top, "HOME": "/tmp"}
    state = os.path.join(top, META, "state")
    try:
        with open(state, "rb") as file:
            told = json.loads(file.read(_JSON_MAX))["env_vars"]
        set_by_hand = ["%s=%s" % (name, value) for name, value in told.items()]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        set_by_hand = []
    shell = next((path for path in _SHELLS if os.path.exists(path)), "")
    found = ["CONDA_PREFIX=" + top, *set_by_hand]
    if not shell or not os.path.isdir(os.path.join(top, "etc/conda/activate.d")):
        return found
    try:
        done = subprocess.run(
            [shell, "-c", _ACTIVATE, "sh", top], env=before, stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL, timeout=_ACTIVATE_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        done = None
    if done is None or done.returncode:
        print("swarm: its scripts of activation fail, and set nothing", file=sys.stderr)
        return found
    for text in done.stdout.decode("utf-8", "replace").split("\0"):
        name, equals, value = text.partition("=")
        if equals and name not in _SHELLS_OWN and before.get(name) != value:
            found.append(text)
    return found
