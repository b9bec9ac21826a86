"""Copies a CPython with everything it needs to run on a machine that has none, not even a libc."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_GONE = {
    "__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3",
    "site-packages", "dist-packages", "sitecustomize.py", "LICENSE.txt",
}  # fmt: skip
"""Of the standard library: tests, windows, and what belongs to the machine it comes from."""
_GLIBC = (
    "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1",
    "libresolv.so.2", "libnss_dns.so.2", "libnss_files.so.2",
)  # fmt: skip
"""Found at run time by name, or expected by wheels."""
_EXPECTED = ("libstdc++.so.6", "libgcc_s.so.1", "libz.so.1", "libgomp.so.1", "libatomic.so.1")
"""What manylinux wheels may expect of any machine."""
_PROGRAMS = (
    "sh", "bash", "env", "cat", "ls", "mkdir", "rmdir", "rm", "cp", "mv", "ln", "chmod",
    "touch", "test", "[", "true", "false", "echo", "printf", "pwd", "id", "nproc", "uname",
    "hostname", "date", "sleep", "head", "tail", "wc", "sort", "uniq", "cut", "tr", "tee",
    "grep", "sed", "find", "xargs", "dirname", "basename", "realpath", "readlink", "seq",
    "mktemp", "stat", "du", "df", "ps", "kill", "timeout", "tar", "gzip", "md5sum", "sha256sum",
    "diff", "which",
)  # fmt: skip
"""What scripts call."""
_ETC = {
    "passwd": "swarm:x:65534:65534::/work:/bin/sh\n",
    "group": "swarm:x:65534:\n",
    "hosts": "127.0.0.1 localhost swarm\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
_CERTIFICATES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")


def carry(top: str) -> None:
    """The interpreter that runs this, and its libraries, into `top`/py and `top`/base."""
    lib = os.path.join(top, "py", "lib")
    bins = os.path.join(top, "py", "bin")
    std = os.path.join(lib, _versioned())
    os.makedirs(bins)
    os.makedirs(lib)
    program = os.path.realpath(sys.executable)
    shutil.copy(program, os.path.join(bins, _versioned()))
    os.symlink(_versioned(), os.path.join(bins, "python3"))
    _copy_library(sysconfig.get_path("stdlib"), std)
    os.makedirs(os.path.join(std, "site-packages"), exist_ok=True)
    loaded = [program, *_extensions(std)]
    programs = _carry_programs(os.path.join(top, "base", "bin"))
    _carry_libraries([*loaded, *programs], lib)
    _carry_etc(os.path.join(top, "base", "etc"))


def _versioned() -> str:
    return "python%d.%d" % sys.version_info[:2]


def _copy_library(source: str, target: str) -> None:
    shutil.copytree(
        source, target, symlinks=False, ignore=_passed_over, ignore_dangling_symlinks=True
    )
    dynamic = os.path.join(target, "lib-dynload")
    if not os.path.isdir(dynamic):
        shutil.copytree(sysconfig.get_config_var("DESTSHARED"), dynamic)


def _passed_over(_folder: str, names: "list[str]") -> "list[str]":
    return [
        name
        for name in names
        if name in _GONE
        or name.startswith(("config-", "_tkinter"))
        or (name.endswith(".so") and "test" in name)
        or name.endswith((".pyc", ".a"))
    ]


def _extensions(std: str) -> "list[str]":
    folder = os.path.join(std, "lib-dynload")
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if ".so" in name]


def _carry_programs(bins: str) -> "list[str]":
    """What scripts call; those that are one file under several names stay so. The files copied."""
    os.makedirs(bins)
    by_file: dict[str, str] = {}
    for name in _PROGRAMS:
        found = shutil.which(name, path="/usr/bin:/bin")
        if found is None:
            continue
        real = os.path.realpath(found)
        if real in by_file:
            os.symlink(by_file[real], os.path.join(bins, name))
            continue
        with open(real, "rb") as file:
            if file.read(2) == b"#!":  # a script of its distribution
                continue
        shutil.copy(real, os.path.join(bins, name))
        by_file[real] = name
    return sorted(by_file)


def _carry_libraries(files: "list[str]", lib: str) -> None:
    """By ldd: it runs code of what it is given, which is this machine's own."""
    found: dict[str, str] = {}
    for file in files:
        done = subprocess.run(["ldd", file], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for name, path in _needed(done.stdout.decode()):
            found.setdefault(name, path)
    folders = [os.path.dirname(found["libc.so.6"])] if "libc.so.6" in found else []
    folders += ["/lib64", "/usr/lib64", "/usr/lib", "/lib"]
    for name in (*_GLIBC, *_EXPECTED):
        for folder in folders:
            path = os.path.join(folder, name)
            if name not in found and os.path.exists(path):
                found[name] = path
    if "libc.so.6" not in found:
        raise SystemExit("this Python is not linked to the GNU C library: it cannot travel")
    for name, path in sorted(found.items()):
        target = os.path.join(lib, name)
        if not os.path.exists(target):
            shutil.copy(os.path.realpath(path), target)


def _needed(told: str) -> "Iterator[tuple[str, str]]":
    """(name, path) of each line of ldd, the loader among them."""
    for line in told.splitlines():
        match = re.match(r"\s*(\S+) => (/\S+)", line) or re.match(r"\s*(/\S*(ld-linux\S*))", line)
        if match and match.re.groups == 2:
            if match[1].startswith("/"):
                yield match[2], match[1]
            else:
                yield match[1], match[2]


def _carry_etc(etc: str) -> None:
    os.makedirs(etc)
    for name, text in _ETC.items():
        with open(os.path.join(etc, name), "w") as file:
            file.write(text)
    for path in _CERTIFICATES:
        if os.path.exists(path):
            shutil.copy(path, os.path.join(etc, "ca.crt"))
            break
