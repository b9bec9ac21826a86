"""`person` and `token`: who else may use this node, and by what."""

from typing import Final

import click

from swarmnode.cli.each import each
from swarmnode.cli.groups import NearestGroup
from swarmnode.cli.neighbours import SHARED_SOCKET
from swarmnode.cli.nouns.api import scope_option
from swarmnode.cli.output import emit, emit_rows, or_said, output_option, stamp
from swarmnode.cli.talk import in_path, node

_NO_TCP: Final = (
    "note: this node takes no tokens yet: its owner sets api.tcp in config.toml and restarts it"
)


@click.group(cls=NearestGroup)
def person() -> None:
    """Other users of this machine who may use its node."""


@person.command("add")
@click.argument("name")
@click.option("--uid", type=click.IntRange(0), help="User id  [default: that of the login NAME].")
@output_option
def person_add(name: str, uid: int | None, fmt: str) -> None:
    """Let a user of this machine in: with objects and tasks of their own.

    They connect to the socket that `api.shared` names: /run/swarm/api.sock is found by itself,
    another where SWARM_API names it.
    """
    with node() as client:
        added = client.call("POST", "/api/v1/people", {"name": name, "uid": uid})
    if fmt == "table":
        emit({"changed": added["changed"], "next": _next(added["socket"])}, fmt)
    else:
        emit(added, fmt)


def _next(shared: str) -> str:
    """What is still to be done until that user's commands get through."""
    if not shared:
        return (
            "set api.shared in config.toml and restart the node: "
            "it has no socket yet that others may connect to"
        )
    if shared == str(SHARED_SOCKET):
        return "they type, say, swarmnode status"
    return f"they type, say, SWARM_API={shared} swarmnode status"


@person.command("ls")
@output_option
def person_ls(fmt: str) -> None:
    """List the users of this machine who were let in."""
    with node() as client:
        rows = client.get("/api/v1/people")
    if fmt == "table":
        for row in rows:
            row["since"] = stamp(row["since_ms"])
    emit_rows(rows, fmt, ("name", "uid", "since"))


@person.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@output_option
def person_rm(names: tuple[str, ...], fmt: str) -> int:
    """Let users of this machine in no more; what they stored and run stays, their tokens end."""
    with node() as client:
        rows, code = each(
            names,
            lambda person: {
                "name": person,
                **client.call("DELETE", f"/api/v1/people/{in_path(person)}"),
            },
        )
    if rows or fmt != "table":
        emit_rows(rows, fmt, ("name", "changed"))
    return code


@click.group(cls=NearestGroup)
def token() -> None:
    """Your bearer tokens for the API on TCP (api.tcp)."""


@token.command("new")
@scope_option
@click.option("--name", default="", help="What it is for; it can be ended by this name.")
@output_option
def token_new(scope: str, name: str, fmt: str) -> None:
    """Make a token and print it, once. It works at once and acts as you."""
    with node() as client:
        made = client.call("POST", "/api/v1/tokens", {"scope": scope, "name": name})
    with or_said("a token was made all the same: see swarmnode token ls, and token rm"):
        if fmt == "table":
            click.echo(made["token"])
        else:
            emit(made, fmt)
    if made.get("tcp") == "":
        click.echo(_NO_TCP, err=True)


@token.command("ls")
@output_option
def token_ls(fmt: str) -> None:
    """List your tokens by id; the tokens themselves are not kept anywhere."""
    with node() as client:
        emit_rows(client.get("/api/v1/tokens"), fmt, ("id", "scope", "name"))


@token.command("rm")
@click.argument("which", nargs=-1, required=True, metavar="ID_OR_NAME...")
@output_option
def token_rm(which: tuple[str, ...], fmt: str) -> int:
    """End tokens at once."""
    with node() as client:
        rows, code = each(
            which,
            lambda token: {
                "token": token,
                **client.call("DELETE", f"/api/v1/tokens/{in_path(token)}"),
            },
        )
    if rows or fmt != "table":
        emit_rows(rows, fmt, ("token", "changed"))
    return code
