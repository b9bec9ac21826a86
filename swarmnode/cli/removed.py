"""What a command adds on a machine that is out of its network: nobody else hears of what it did."""

from typing import Final

import click

from swarmnode.cli.client import ApiError, Client, NodeUnreachableError

REMOVED: Final = "removed"
"""The state of such a node, in `status`; the first of its warnings says by whom, and what to do."""


def why_out(client: Client) -> str:
    """By whom this machine was removed, when, and what to do; empty while it is in.

    Empty, too, where the node cannot be asked now: what was done stands whether it can or not.
    """
    try:
        status = client.get("/api/v1/status")
    except (NodeUnreachableError, ApiError):
        return ""
    return str(next(iter(status["warnings"]), "")) if status["state"] == REMOVED else ""


def say_if_out(client: Client) -> None:
    """A word beside what was done, which holds on this machine as before."""
    if why := why_out(client):
        click.echo(f"nobody else hears of it: {why}", err=True)
