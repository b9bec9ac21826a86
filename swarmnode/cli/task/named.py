"""Names that a task gives, of environments and of secrets: whether there are such.

Looked up before anything is stored for it.
"""

from swarmnode.cli import exits
from swarmnode.cli.client import Client, Document
from swarmnode.cli.machines import Machines
from swarmnode.cli.near import meant


def refuse_misspelt_env(client: Client, spec: Document) -> None:
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


def refuse_missing_secrets(client: Client, spec: Document) -> None:
    """Raises CliError with the command that helps. What is no list is refused elsewhere."""
    wanted = spec.get("secrets")
    if not wanted or not isinstance(wanted, list):
        return
    kept = {row["name"] for row in client.get("/api/v1/secrets")}
    names = [str(text).partition("=")[0] for text in wanted]
    if missing := [name for name in names if name not in kept]:
        near = meant(missing[0], kept)
        raise exits.CliError(
            f"no secret {missing[0]!r} of yours is kept on this machine: "
            f"{f'did you mean {near}? Else: ' if near else ''}swarmnode secret set {missing[0]}",
            exits.NOT_FOUND,
        )
