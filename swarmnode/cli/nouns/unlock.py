"""`unlock` and `lock`: our key at somebody else's node of this machine."""

import sys

import click

from swarmnode.cli.output import emit, output_option, reporting
from swarmnode.cli.person_key import bring
from swarmnode.cli.talk import here, node
from swarmnode.home.folders import Home


@click.command()
@click.option(
    "--new-key",
    "anew",
    is_flag=True,
    help="Take the key that is here now (made if there is none): the former one is lost.",
)
@click.option("--yes", is_flag=True, help="Do not ask whether the former key may be lost.")
@output_option
def unlock(anew: bool, yes: bool, fmt: str) -> None:
    """Bring your key to the node of this machine that you use: any command does so, too.

    It opens the capabilities that rest there sealed for you, until the node ends or you `lock`.
    """
    with reporting(), node(unlocks=False) as client:
        me = client.get("/api/v1/me")
        if me["person"]:
            if anew and me.get("salt") and not yes:
                _ask(here())
            me = bring(client, here(), me, anew=anew)
        if me["person"]:
            me = {**me, "file": str(here().person_key)}
        elif fmt == "table":
            me = {"scope": me["scope"], "key": "yours is the node's own: nothing to unlock"}
        emit(me, fmt)


def _ask(home: Home) -> None:
    """On a terminal only: who writes a script has thought of it. Raises IdentityError."""
    from p2p.errors import IdentityError

    if sys.stdin is None or not sys.stdin.isatty():
        return
    words = (
        f"Unless {home.person_key} is the key that the node knows, whatever was sealed for you "
        "until now can be read by nobody any more. Go on?"
    )
    if not click.confirm(words, err=True):
        raise IdentityError("nothing was changed")


@click.command()
@output_option
def lock(fmt: str) -> None:
    """Let the node of this machine that you use forget your key, until your next command.

    Your tasks run on, and what is yours is kept. A token lists your objects, but not how to
    read them.
    """
    with node(unlocks=False) as client:
        emit(client.call("DELETE", "/api/v1/me/key"), fmt)
