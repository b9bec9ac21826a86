"""uv in a sandbox: to learn what a source distribution needs, its builder may have to be run.

It sees the system, the project and local folders of packages, all to be read, and this machine's
network, as uv itself does; nothing of a home, no password of an index, no other process, and what
it writes is gone with it.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from swarmnode.cli import exits

if TYPE_CHECKING:
    from swarmnode.project.environment.indexes import Indexes

_APART: Final = (
    *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--disable-userns"),
    *("--cap-drop", "ALL", "--die-with-parent", "--new-session"),
    *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),  # noqa: S108  (one of its own)
    *("--setenv", "HOME", "/tmp/home", "--setenv", "TMPDIR", "/tmp"),  # noqa: S108
    *("--setenv", "UV_CACHE_DIR", "/tmp/cache"),  # noqa: S108
)
_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt/python")
_SETTINGS: Final = (
    *("resolv.conf", "hosts", "nsswitch.conf", "ld.so.cache", "ld.so.conf", "ld.so.conf.d"),
    *("ssl", "ca-certificates", "pki", "alternatives", "localtime", "passwd", "group"),
)
"""Of /etc, what everybody may read and programs need for names, certificates and libraries."""
_CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT")


def sandbox_for(root: Path, indexes: "Indexes") -> list[str]:
    """The words before a command. Raises CliError where no sandbox works here."""
    from swarmnode.executor.sandbox import bubblewrap
    from swarmnode.project.environment.uv import uv_program

    program = bubblewrap.find()
    if trouble := bubblewrap.trouble(program):
        raise exits.CliError(
            "--allow-build runs builders of packages to learn what they need, in a sandbox, and "
            f"none works here: {trouble.detail}: {trouble.fix}; or lock the project with uv (uv "
            "lock), whose lock says it",
            exits.USAGE,
        )
    shown = (os.path.realpath(uv_program()), *_shown(root, indexes))
    places = [word for place in shown for word in ("--ro-bind-try", place, place)]
    own = ("--setenv", "UV_PYTHON", sys.executable)
    return [program, *_APART, *places, *own, "--chdir", str(root), "--"]


def _shown(root: Path, indexes: "Indexes") -> Iterator[str]:
    yield from _SYSTEM
    yield from (f"/etc/{name}" for name in _SETTINGS)
    for prefix in {sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parents[1])}:
        if not Path(prefix).is_relative_to("/usr") and not Path.home().is_relative_to(prefix):
            yield prefix
    for place in indexes.folders():  # an index of links often leads to files beside it
        beside = place.parent if place.name == "simple" else place
        yield str(place if Path.home().is_relative_to(beside) else beside)
    yield from (indexes.variables[key] for key in _CERTIFICATES if key in indexes.variables)
    yield str(root)
