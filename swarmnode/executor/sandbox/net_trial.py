"""Whether this machine can make a network for a task, found out by making one. Blocking."""

import subprocess
import sys
from typing import Final

from swarmnode.executor.sandbox import bubblewrap

_MAKE: Final = (
    "import os, sys; sys.path.insert(0, sys.argv[1])\n"
    "from swarmnode.executor.shim.net import space\n"
    "try: space.make(is_root=os.geteuid() == 0)\n"
    "except OSError as exc: sys.exit(str(exc.strerror))\n"
)
_TABLES_FIX: Final = (
    "the kernel needs nf_tables with redirect: "
    "modprobe -a nf_tables nft_redir nft_chain_nat nft_ct nft_limit"
)


_USER_FIX: Final = (
    "run the node as root, or let its user make user namespaces (on Ubuntu 24.04: sudo sysctl -w "
    "kernel.apparmor_restrict_unprivileged_userns=0)"
)


def trouble(*, is_container: bool) -> str:
    """ "" when it can, else why not and the remedy; some 30 ms."""
    if is_container:
        return "tasks of sandbox = container share the container's network; use sandbox = bwrap"
    command = [sys.executable, "-I", "-S", "-c", _MAKE, bubblewrap.ROOT]
    try:
        tried = subprocess.run(  # noqa: S603 - our own interpreter
            command, capture_output=True, text=True, timeout=bubblewrap.TRIAL_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"a network for tasks cannot be made: {exc}"
    if tried.returncode == 0:
        return ""
    said = (tried.stderr.strip().splitlines() or ["no reason given"])[-1]
    return f"a network for tasks cannot be made: {said}; {_remedy(said)}"


def _remedy(said: str) -> str:
    if "not permitted" in said or "denied" in said:
        return _USER_FIX
    return _TABLES_FIX if said.startswith("nf_tables") else "see docs/operations.md, sandbox"
