"""`api`: who may use this node's API over the network."""

import os
from pathlib import Path

import click

from swarmnode.cli import exits, neighbours
from swarmnode.cli.groups import NearestGroup
from swarmnode.cli.output import CommandT, emit, or_said, output_option, reporting

SCOPES = ("read", "submit", "admin")


def scope_option(command: CommandT) -> CommandT:
    """Give a command that makes a token its `--scope`: what the token allows."""
    return click.option(
        "--scope",
        type=click.Choice(SCOPES),
        default="read",
        show_default=True,
        help="read: look; submit: run tasks and store objects, too; admin: everything.",
    )(command)


@click.group(cls=NearestGroup)
def api() -> None:
    """Who may use this node's API over the network."""


@api.command("token")
@scope_option
@click.option("--name", default="", help="Whom it is for; only to recognise it in the file.")
@output_option
def token(scope: str, name: str, fmt: str) -> None:
    """Make a bearer token and print it, once: only its hash is kept.

    Works without a node, for a first token; with one use `swarmnode token`. A running node sees it
    at once, and serves the API where api.tcp says.
    """
    with reporting():
        if host := neighbours.hosts_us():
            raise exits.CliError(
                f"you use the node of {host} here: `swarmnode token new` makes one for that",
                exits.AUTH,
            )
        made, file = _make_token(scope, name)
    with or_said(f"a token was made all the same: the last line of {file} lets it in"):
        if fmt == "table":
            click.echo(made)
        else:
            emit({"token": made, "scope": scope, "file": str(file)}, fmt)
    if fmt == "table":
        click.echo(f"scope {scope}; its hash is in {file}", err=True)


def _make_token(scope: str, name: str) -> tuple[str, Path]:
    """And the file that has its hash. Raises SwarmError."""
    from swarmnode.api.access.tokens import add_token, token_file
    from swarmnode.home.config_load import load
    from swarmnode.home.folders import locate

    home = locate(os.environ)
    home.make()
    file = token_file(load(home.config_file, os.environ).api.token_file, home.state)
    return add_token(file, scope, name, os.urandom), file
