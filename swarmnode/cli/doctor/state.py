"""What `doctor` looks at in the state folder: the file system it lies on, and who else runs it."""

from pathlib import Path
from typing import Final

from swarmnode.cli.client import ApiError, Client, NodeUnreachableError
from swarmnode.cli.doctor.surroundings import OK, WARN, Check
from swarmnode.cli.machines import Machines
from swarmnode.home.config import Config
from swarmnode.home.folders import Home
from swarmnode.home.lock import NETWORK_FILE_SYSTEMS, file_system_of
from swarmnode.resources.mounts import MOUNTINFO, read_proc

_MOUNTS: Final = Path(MOUNTINFO)
_ANSWER_S: Final = 2.0


def file_system(home: Home, mounts: Path = _MOUNTS) -> Check:
    """Is the state on a disk of this machine? Locks and memory maps need one."""
    try:
        kind = file_system_of(home.state.resolve(), read_proc(str(mounts)))
    except OSError as exc:
        return Check("state", WARN, f"{mounts} cannot be read: {exc.strerror}", "mount /proc")
    if kind in NETWORK_FILE_SYSTEMS:
        detail = f"{home.state} is on {kind}: that one node only uses it depends on the server"
        fix = "set SWARM_HOME to a folder on a disk of this machine"
        return Check("state", WARN, detail, fix)
    return Check("state", OK, f"{home.state} is on {kind or 'a disk of this machine'}")


def recovery(home: Home, config: Config) -> Check:
    """By what the owner comes back when this machine is gone."""
    if not (home.machine_key.exists() or home.member_key.exists()):
        return Check("recovery", OK, "no keys yet: there is nothing to bring back")
    if not home.member_key.exists():
        return Check("recovery", OK, "your key is on another machine: its phrase brings all back")
    try:
        notes = Client(home.api_socket, timeout_s=_ANSWER_S).get("/api/v1/status")["notes"]
    except (NodeUnreachableError, ApiError):
        notes = ["lab recovery is on"] if config.node.lab_recovery == "on" else []
    if any(line.startswith("lab recovery is on") for line in notes):
        return Check("recovery", OK, "by your phrase, and by whoever holds the lab's key")
    return Check("recovery", OK, "by your phrase alone (swarmnode key phrase)")


def peers(home: Home) -> Check:
    """How the others are connected: those by relay have a slower way, and the reason is a port."""
    try:
        machines = Machines.seen_by(Client(home.api_socket, timeout_s=_ANSWER_S))
    except (NodeUnreachableError, ApiError):
        return Check("peers", OK, "no node runs here that could have reached any")
    others = [row for row in machines.rows if row["connected"] and not row["me"]]
    relayed = [row for row in others if row.get("relay")]
    ways = [f"{machines.label(row['peer'])} by {machines.way(row)}" for row in relayed]
    direct = f"{len(others) - len(ways)} directly"
    if not ways:
        return Check("peers", OK, direct)
    fix = "let TCP in to [listen] addresses of one of each two: they then meet directly"
    return Check("peers", OK, f"{direct}; {', '.join(ways)}", fix)


def copies(home: Home) -> Check:
    """Does another machine run with our key, or with another member's? The node would know."""
    try:
        status = Client(home.api_socket, timeout_s=_ANSWER_S).get("/api/v1/status")
    except (NodeUnreachableError, ApiError):
        return Check("copies", OK, "no node runs here that could have noticed one")
    twins = [line for line in status["warnings"] if line.startswith("two nodes run")]
    if twins:
        detail, _, fix = "; ".join(twins).partition("? ")
        return Check("copies", WARN, detail, fix)
    return Check("copies", OK, "no key is used by two nodes")
