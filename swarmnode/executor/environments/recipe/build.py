"""The command of a build: from the lock in /env/.lock to a whole environment in /env.

    python build.py [--allow-build] [uv's program]

Its exit code is 0, 65 for a package that cannot be had here, 69 for anything of the machine.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import carry  # type: ignore[import-not-found]
import elf  # type: ignore[import-not-found]

TOP = "/env"
LOCK = TOP + "/.lock"
CACHE = TOP + "/.cache"
ABOUT = TOP + "/about.json"
RECIPE = 4
"""Raised when anything here changes what comes out."""
NO_PACKAGE = 65
NO_MACHINE = 69


def main(words: "list[str]") -> None:
    """Carry, install, normalise, look."""
    allow_build, uv = "--allow-build" in words, words[-1]
    for name in os.listdir(TOP):
        if name != os.path.basename(LOCK):  # of an attempt before
            _remove(os.path.join(TOP, name))
    _say("carrying CPython %s" % platform.python_version())
    carry.carry(TOP)
    _run(uv, ["venv", "-q", "--python", TOP + "/py/bin/python3", TOP + "/venv"], NO_MACHINE)
    _say("installing packages")
    build = [] if allow_build else ["--no-build"]
    build += ["--no-index"] if os.environ.get("UV_NO_INDEX") else []
    # The lock names version and hash: whichever of this machine's indexes has that may give it.
    build += ["--index-strategy", "unsafe-best-match"]
    install = ["pip", "install", "--no-deps", "--require-hashes", *build, "-r", LOCK]
    _run(uv, [*install, "--python", TOP + "/venv/bin/python"], NO_PACKAGE)
    shutil.rmtree(CACHE, ignore_errors=True)
    os.unlink(LOCK)
    _say("compiling")
    here = os.path.dirname(os.path.abspath(__file__))
    python = TOP + "/venv/bin/python"
    done = subprocess.run([python, "-I", "-B", here + "/normalise.py", TOP], env=_variables())
    if done.returncode:
        sys.exit(NO_MACHINE)
    _write_about(uv)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _variables() -> "dict[str, str]":
    """uv's as the machine says; and what makes two builds one."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    kept.update(
        UV_CACHE_DIR=CACHE, UV_LINK_MODE="copy", UV_PYTHON_DOWNLOADS="never", UV_NO_CONFIG="1",
        UV_NO_PROGRESS="1", NO_COLOR="1", SOURCE_DATE_EPOCH="315532800",
        LD_LIBRARY_PATH=TOP + "/py/lib",
    )  # fmt: skip
    return kept


def _run(uv: str, words: "list[str]", fault: int) -> None:
    done = subprocess.run([uv, *words], env=_variables(), stderr=subprocess.PIPE)
    told = done.stderr.decode("utf-8", "replace")
    if done.returncode:
        _say("\n".join(told.strip().splitlines()[-20:]))
        sys.exit(fault)
    if told.strip():
        _say(told.strip().splitlines()[-1])


def _write_about(uv: str) -> None:
    """What it is, for the record of it; the same for the same build."""
    needs = elf.needs_of(TOP)
    version = subprocess.run([uv, "--version"], stdout=subprocess.PIPE).stdout.decode().split()[1]
    about = {
        "recipe": RECIPE,
        "uv": version,
        "python": platform.python_version(),
        "soabi": sysconfig.get_config_var("SOABI"),
        "machine": platform.machine(),
        "machines": needs.machines,
        "glibc": "2.%d" % needs.glibc if needs.glibc else "",
        "needs_cpu": needs.cpu,
        "packages": _packages(),
    }
    with open(ABOUT, "w") as file:
        json.dump(about, file, indent=1, sort_keys=True)
    os.chmod(ABOUT, 0o644)
    count = len(about["packages"])
    _say("built: 1 package" if count == 1 else "built: %d packages" % count)


def _packages() -> "list[str]":
    import glob

    found = glob.glob(TOP + "/venv/lib/python*/site-packages/*.dist-info")
    return sorted(os.path.basename(path)[: -len(".dist-info")] for path in found)


def _say(text: str) -> None:
    print("swarm: " + text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
