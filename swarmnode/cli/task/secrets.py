"""Whether the secrets that a task wants are kept, looked up before anything is stored for it."""

from swarmnode.cli import exits
from swarmnode.cli.client import Client, Document
from swarmnode.cli.near import meant


def refuse_missing(client: Client, spec: Document) -> None:
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
            f"{f'did you mean {near}? Else: ' if near else ''}swarm secret set {missing[0]}",
            exits.NOT_FOUND,
        )
