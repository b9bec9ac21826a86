"""Whether an environment that a task names is one that some machine has."""

from swarmnode.cli import exits
from swarmnode.cli.client import Client, Document
from swarmnode.cli.machines import Machines
from swarmnode.cli.near import meant


def refuse_misspelt(client: Client, spec: Document) -> None:
    """A name that is nearly one that machines have, and itself none. Raises CliError.

    Any other may be that of a machine that is off just now: its task waits, and says so.
    """
    name = spec.get("env")
    if not isinstance(name, str) or not name or spec.get("built"):
        return
    rows = Machines.seen_by(client).rows
    known = {str(one) for row in rows for one in row.get("environments", ())}
    near = "" if name in known else meant(name, known)
    if near:
        raise exits.CliError(
            f"no machine that is up has an environment {name!r}: did you mean {near}? "
            "(--detach waits for a machine that has it)",
            exits.USAGE,
        )
