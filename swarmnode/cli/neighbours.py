"""Nodes of other people on this machine: where to find one, and whom to ask."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from swarmnode.home.folders import Home

SHARED_SOCKET: Final = Path("/run/swarm/api.sock")
"""Where a node serves all users of its machine, if its owner says so (api.shared)."""


def uids_here(proc: Path = Path("/proc")) -> list[int]:
    """Whose nodes run on this machine, as far as we may see; of users, us among them."""
    uids: dict[int, None] = {}
    for folder in sorted(proc.iterdir()):
        if folder.name.isdecimal():
            try:
                uid, words = folder.stat().st_uid, (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:  # it has ended, or is not for us to see
                continue
            if _is_node(words):
                uids[uid] = None
    return list(uids)


def whom_to_ask() -> str:
    """For somebody without a node of their own; empty when there is nobody to ask."""
    uids = uids_here()
    if os.geteuid() in uids:
        return (
            "no node runs in this home, but one of yours does in another: set SWARM_HOME to the "
            "folder of that, or start one here with `swarmnode up`"
        )
    others = [_login_of(uid) for uid in uids]
    if not others:
        return ""
    from swarmnode.people.book import add_command

    return (
        f"a node of {' and '.join(others)} runs on this machine: ask for "
        f"`{add_command(os.geteuid())}` there, or start one of your own with `swarmnode up`"
    )


def hosts_us() -> str:
    """Whose node of this machine we use, as we have none of our own; empty: nobody's."""
    given = os.environ.get("SWARM_API", "")
    shared = Path(given) if given.startswith("/") else SHARED_SOCKET
    try:
        uid = shared.stat().st_uid
        if uid == os.geteuid() or _locate().machine_key.exists():
            return ""
    except OSError:  # there is none, or it is not for us to see
        return ""
    return _login_of(uid)


def _locate() -> "Home":
    from swarmnode.home.folders import locate

    return locate(os.environ)


def _login_of(uid: int) -> str:
    from swarmnode.people.book import login_of

    return login_of(uid)


_NODE_OPTIONS: Final = (b"--profile", b"--listen", b"--api-tcp", b"--log-level")


def _is_node(words: list[bytes]) -> bool:
    names = [os.path.basename(word) for word in words]
    if b"swarmnode.daemon" in words:
        return True
    programs = [at for at, name in enumerate(names[:2]) if name in (b"swarmnode", b"swarm")]
    rest = [words[at + 1 :] for at in programs]
    return any(is_up(given) for given in rest)


def is_up(words: list[bytes]) -> bool:
    """Whether that command line starts a node; `run` with a command of its own is a task."""
    if not words or words[0] not in (b"up", b"run"):
        return False
    options = filter(None, words[1:])  # what the kernel shows ends with an empty one
    return words[0] == b"up" or all(
        word.startswith(_NODE_OPTIONS) and (b"=" in word or next(options, b"") is not None)
        for word in options
    )
