"""`key phrase` and `recover`: the way back for a person whose machine is gone."""

import os
import sys
from typing import Unpack

import click

from swarmnode.cli.client import Document
from swarmnode.cli.groups import NearestGroup
from swarmnode.cli.nouns.enrol import FullAddress, report
from swarmnode.cli.nouns.naming import Naming, naming_options, start, wall_ms, write_config
from swarmnode.cli.output import emit, or_said, output_option, reporting
from swarmnode.cli.talk import node
from swarmnode.home import enrol
from swarmnode.home.folders import Home, locate

PHRASE_BYTES_MAX = 4096


@click.group(cls=NearestGroup)
def key() -> None:
    """Your own key, from which everything of yours can be brought back."""


@key.command("phrase")
@click.option("--of", "person", help="Of somebody else, by the lab's key, which must lie here.")
@output_option
def phrase(person: str | None, fmt: str) -> None:
    """Print your recovery phrase: 24 words, to be kept on paper, away from this machine.

    Whoever has it is you: they read all that is yours and may remove it.

    With --of it is that of a person who joined with --lab-recovery and lost machine and phrase: for
    them to `swarmnode recover`. It is written down for the whole lab, whose nodes all tell it.
    """
    if person is None:
        with reporting():
            shown: Document = {"phrase": _own_phrase(locate(os.environ))}
    else:
        with node() as client:
            shown = client.call("POST", "/api/v1/members/phrase", {"who": person})
    if fmt == "table":
        click.echo(shown["phrase"])
    else:
        emit(shown, fmt)


def _own_phrase(home: Home) -> str:
    """Raises IdentityError."""
    from p2p.errors import IdentityError
    from p2p.identity.key_files import load_key_file
    from swarmnode.recovery.phrase import words_of

    if not home.member_key.exists() and home.person_key.exists():
        raise IdentityError(
            f"your key is {home.person_key}, which has no phrase: keep a copy of that file. It "
            "opens what is yours at the node of somebody else that you use on this machine"
        )
    if not home.member_key.exists():
        raise IdentityError(
            f"your key is not here ({home.member_key}): it lies on the machine on which you "
            "founded or first joined the network"
        )
    return words_of(load_key_file(home.member_key).seed())


@click.command()
@click.argument("invite", required=False)
@click.option(
    "--address",
    "addresses",
    type=FullAddress(),
    multiple=True,
    help="Where to call, without an invite.",
)
@click.option("--open", "is_open", is_flag=True, help="The network you founded is an open one.")
@naming_options
@output_option
def recover(
    invite: str | None,
    addresses: tuple[str, ...],
    is_open: bool,
    fmt: str,
    **naming: Unpack[Naming],
) -> None:
    """Become yourself again on a blank machine, by the recovery phrase on stdin.

    INVITE is one of anybody in your lab, for yourself. If you founded the network you need none:
    give the --address of any node of it. The node then brings back objects, tasks and results.
    Repeating it changes nothing and says so; another invite replaces the one that was used.
    """
    if (invite is None) == (not addresses):
        raise click.UsageError("give an INVITE, or --address if you founded the network")
    with reporting():
        from swarmnode.home.recover import recover as comeback
        from swarmnode.home.unnamed import Unnamed
        from swarmnode.recovery.phrase import seed_of

        seed = seed_of(_read_phrase())
        home, config, names = start(naming)
        now_ms = wall_ms()
        given = None if invite is None else enrol.read_invite(invite, now_ms)
        enrolled = comeback(
            home, seed, given, names, os.urandom, now_ms, addresses=addresses, is_open=is_open,
            given=Unnamed(person=naming["person"] or "", lab=naming["lab"] or ""),
        )  # fmt: skip
        wrote = write_config(home, config, names)
        steps = "swarmnode up (it brings back your objects, tasks and results"
        if not naming["person"]:
            steps += f", and your name: until then you are called {names.person}"
        told = report(home, enrolled, enrolled.changed or wrote, f"{steps})")
    with or_said("this home is yours now all the same: swarmnode up brings your things back"):
        emit(told, fmt)


def _read_phrase() -> str:
    """From a terminal without showing it, else all of stdin."""
    if sys.stdin is None:
        raise click.UsageError("standard input is closed: the phrase is read from there")
    if sys.stdin.isatty():
        words: str = click.prompt("recovery phrase", hide_input=True, err=True)
        return words
    return sys.stdin.read(PHRASE_BYTES_MAX)
