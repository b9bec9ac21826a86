"""Unlocking what rests of us at somebody else's node of this machine.

The secret goes over the node's unix socket, in a request's body, and nowhere else.
"""

import os
from typing import Final

import click

from swarmnode.cli.client import ApiError, Client, Document
from swarmnode.home.folders import Home

NOT_OURS: Final = "other_key"
SALT_BYTES: Final = 16


def offer(client: Client, home: Home, *, is_again: bool = False) -> None:
    """Bring our key, if the node knows us as one of several people and has it not.

    A key that is missing or wrong is told and hinders nothing: only sealed capabilities stay shut.
    """
    me = client.get("/api/v1/me")
    if not me.get("person") or me.get("key") not in ("none", "locked"):
        return
    from p2p.errors import IdentityError

    try:
        bring(client, home, me)
    except IdentityError as error:
        _warn(f"{error}: {_consequence(me['key'])}")
    except ApiError as error:
        if error.code != NOT_OURS:
            raise
        if me["key"] == "none" and not is_again:  # another command of ours was the first
            offer(client, home, is_again=True)
            return
        _warn(f"{home.person_key}: {error}")


def bring(client: Client, home: Home, me: dict[str, str], *, anew: bool = False) -> Document:
    """Who the node, which said `me`, says we are then. Raises IdentityError, ApiError.

    Only the first time, or `anew`, a missing key is made. A key that is here and is the one known
    there is kept also `anew`: what was sealed with it would be lost.
    """
    from swarmnode.people.key_file import load_person_key, make_person_key, sealing_secret_of

    if anew and me.get("salt") and home.person_key.exists():
        try:
            return bring(client, home, me)
        except ApiError as error:
            if error.code != NOT_OURS:
                raise
    is_first = anew or not me.get("salt")
    key = make_person_key(home) if is_first else load_person_key(home)
    salt = os.urandom(SALT_BYTES) if is_first else bytes.fromhex(me["salt"])
    body = {"secret": sealing_secret_of(key, salt).hex(), "salt": salt.hex(), "anew": anew}
    said: Document = client.call("POST", "/api/v1/me/key", body)
    return said


def _warn(words: str) -> None:
    click.echo(f"warning: {words}", err=True)


def _consequence(state: str) -> str:
    if state == "none":
        return "without a key of yours, whoever reads the node's disk can read your objects"
    return "until your key is back, capabilities that rest at the node stay shut (swarmnode unlock)"
