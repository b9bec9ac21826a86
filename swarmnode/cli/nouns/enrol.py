"""`init`, `invite`, `join`: the offline half, writing the files of a home."""

import os
import re
import socket
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Unpack

import click

from p2p.errors import IdentityError, NotEntitledError
from p2p.identity.invites import Invite, encode_invite, split_address
from p2p.identity.issue import DAY_MS, Grant
from p2p.identity.records import InviteCert
from p2p.ids import PeerId
from p2p.limits import INVITE_ADDRESSES_MAX, INVITE_CHARS_MAX
from swarmnode.cli import exits, neighbours
from swarmnode.cli.client import Client
from swarmnode.cli.nouns.naming import (
    Naming,
    lab_recovery_option,
    naming_options,
    start,
    wall_ms,
    write_config,
)
from swarmnode.cli.output import emit, or_said, output_option, reporting
from swarmnode.cli.removed import why_out
from swarmnode.home import enrol
from swarmnode.home.config_load import load
from swarmnode.home.folders import Home, locate, read_addresses

_DIGITS_MAX: Final = 5
"""Of a duration: two centuries of days."""
_SHOWN_CHARS_MAX: Final = 40
"""Of one that is longer."""
_ANSWER_S: Final = 2.0
"""What the node of this home gets to say whether it is in."""
_UNITS_MS: Final = {"m": 60_000, "h": 3_600_000, "d": DAY_MS}


class Duration(click.ParamType[int]):
    """`30m`, `12h` or `7d`, as milliseconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Text to milliseconds; a usage error names the form."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([1-9][0-9]*)([mhd])", str(value))
        if match is not None and len(match[1]) > _DIGITS_MAX:
            most = f"{'9' * _DIGITS_MAX}{match[2]}"
            self.fail(f"{str(value)[:_SHOWN_CHARS_MAX]} is too much: at most {most}", param, ctx)
        if match is None:
            self.fail(f"{value!r} is not a valid duration: write 30m, 12h or 7d", param, ctx)
        return int(match[1]) * _UNITS_MS[match[2]]


class FullAddress(click.ParamType[str]):
    """Where a machine listens and which one it is: `/ip4/192.0.2.1/tcp/4850/p2p/12D3KooW...`."""

    name = "address"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """The same text; a usage error names the form."""
        try:
            split_address(str(value))
        except IdentityError as error:
            self.fail(str(error), param, ctx)
        return str(value)


@click.command()
@click.option("--new-network", is_flag=True, help="Found a network; this machine is its first.")
@click.option("--open", "is_open", is_flag=True, help="Let any lab into the new network.")
@lab_recovery_option
@naming_options
@output_option
def init(new_network: bool, is_open: bool, fmt: str, **naming: Unpack[Naming]) -> None:
    """Create this machine's keys, and with --new-network a network of your own.

    Repeating it changes nothing and says so.
    """
    if is_open and not new_network:
        raise click.UsageError("--open needs --new-network")
    if naming["lab_recovery"] and not new_network:
        raise click.UsageError("--lab-recovery needs --new-network, or goes with join")
    with reporting():
        home, config, names = start(naming)
        now_ms = wall_ms()
        if new_network:
            enrolled = enrol.found_network(home, names, os.urandom, now_ms, is_open=is_open)
            steps = "swarmnode up (and for others: swarmnode invite)"
        else:
            enrolled = enrol.init_machine(home, os.urandom, now_ms)
            joined = enrolled.membership is not None
            first = "swarmnode join <invite> (or: swarmnode init --new-network)"
            steps = "swarmnode up" if joined else first
        wrote = write_config(home, config, names)
        _tell(home, enrolled, enrolled.changed or wrote, steps, fmt)


@click.command()
@click.option("--uses", type=click.IntRange(1, 10_000), default=1, show_default=True)
@click.option("--expires", type=Duration(), default="7d", help="Join within  [default: 7d].")
@click.option("--valid", type=Duration(), default="365d", help="Membership lasts [default: 365d].")
@click.option("--can-invite", is_flag=True, help="Who joins may invite others.")
@click.option("--new-lab", is_flag=True, help="Who joins brings a lab of their own.")
@click.option("--own-machine", is_flag=True, help="For one more machine of yours.")
@click.option(
    "--address", "addresses", type=FullAddress(), multiple=True, help="Where to call; up to four."
)
@output_option
def invite(
    uses: int,
    expires: int,
    valid: int,
    can_invite: bool,
    new_lab: bool,
    own_machine: bool,
    addresses: tuple[str, ...],
    fmt: str,
) -> None:
    """Make one string with which somebody else can join.

    It holds a secret: whoever reads it may join until it expires or is used up. Its uses are told
    to all members: whoever comes after as many as it is for is refused.
    """
    if new_lab and (own_machine or can_invite):
        raise click.UsageError("--new-lab goes with neither --own-machine nor --can-invite")
    if len(addresses) > INVITE_ADDRESSES_MAX:
        raise click.UsageError(f"--address can be given {INVITE_ADDRESSES_MAX} times")
    grant = Grant(uses, expires, max(expires, valid), can_invite, new_lab, own_machine)
    with reporting():
        home = locate(os.environ)
        _refuse_guest()
        now_ms = wall_ms()
        where = addresses or _own_addresses(home, now_ms)
        out = why_out(Client(home.api_socket, timeout_s=_ANSWER_S))
        made = _make_invite(home, where, grant, now_ms, out)
        text = encode_invite(made)
    if fmt != "table":
        emit(_document(made, text), fmt)
        return
    given = made.grant()
    click.echo(text)
    until = "" if given is None else f" until {_date(given.join_by_ms)}"
    click.echo(f"{_whom(given)} may join{until}: swarmnode join <invite>", err=True)
    if out:
        click.echo(f"no member hears from here who may: {out}", err=True)


def _make_invite(home: Home, where: Sequence[str], grant: Grant, now_ms: int, out: str) -> Invite:
    """`out`: why this machine is out; what it may not give it is not told to give otherwise."""
    try:
        return enrol.make_invite(home, where, grant, os.urandom, now_ms)
    except NotEntitledError as exc:
        if not out:
            raise
        raise NotEntitledError(out) from exc


def _document(made: Invite, text: str) -> dict[str, object]:
    given = made.grant()
    document: dict[str, object] = {"invite": text, "network": made.anchor.network}
    document["addresses"] = list(made.addresses())
    if given is not None:
        document |= {"id": given.invite, "uses": given.uses, "join_by_ms": given.join_by_ms}
        document |= {"valid_until_ms": made.certificates[-1].expires_ms}
    return document


def _refuse_guest() -> None:
    """Who uses another's node of this machine would hear how to join or found a network."""
    if host := neighbours.hosts_us():
        words = f"you use the node of {host} here, and only its owner invites: ask {host} for one"
        raise exits.CliError(words, exits.AUTH)


def _whom(given: InviteCert | None) -> str:
    """Whoever reads an invite uses it up: most people have more machines than one."""
    if given is None:
        return "whoever reads it"
    first = "whoever reads it first, one machine only (more: --uses N),"
    return first if given.uses == 1 else f"the first {given.uses} who read it"


@click.command()
@click.argument("invite", metavar="INVITE")
@lab_recovery_option
@naming_options
@output_option
def join(invite: str, fmt: str, **naming: Unpack[Naming]) -> None:
    """Join a network with an invite.

    INVITE is the string `swarm1...`, `-` to read that line from stdin (so that it is not seen in
    the process list), or the .toml file of an open network. Repeating it changes nothing; another
    invite replaces the one this machine came with (a node that runs has to be started again), and
    names stay as they were where none are given.
    """
    text = _read_line() if invite == "-" else invite
    with reporting():
        home, config, names = start(naming)
        now_ms = wall_ms()
        given = enrol.read_invite(text, now_ms)
        if naming["lab_recovery"]:
            _check_brings_key(given.grant())
        enrolled = enrol.join(home, given, names, os.urandom, now_ms)
        wrote = write_config(home, config, names)
        again = "stop the node that runs here, and start it again: it goes by what it came with"
        step = again if enrolled.changed and _runs(home) else "swarmnode up"
        _tell(home, enrolled, enrolled.changed or wrote, step, fmt)


def _check_brings_key(granted: InviteCert | None) -> None:
    if granted is not None and granted.owner:
        raise IdentityError(
            "--lab-recovery goes with the machine on which your key lies, not with one more"
        )


def _runs(home: Home) -> bool:
    """Whether a node of this home answers now."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(home.api_socket))
        except OSError:
            return False
    return True


def _read_line() -> str:
    """The first line of stdin that is not empty; the rest is left alone."""
    if sys.stdin is None:
        raise click.UsageError("standard input is closed: give the invite itself")
    if sys.stdin.isatty():
        click.echo("paste the invite: ", nl=False, err=True)
    lines = iter(lambda: sys.stdin.readline(2 * INVITE_CHARS_MAX), "")
    return next((line for line in lines if line.strip()), "")


def _tell(home: Home, enrolled: enrol.Enrolled, changed: bool, next_step: str, fmt: str) -> None:
    with or_said("it was done all the same; `swarmnode key phrase` shows your recovery phrase"):
        emit(report(home, enrolled, changed, next_step), fmt)
    _tell_phrase(home, enrolled, fmt)


def _tell_phrase(home: Home, enrolled: enrol.Enrolled, fmt: str) -> None:
    """Say once by which words a person comes back whose machine is gone; never in a document."""
    if fmt != "table" or not enrolled.changed or not home.member_key.exists():
        return
    from p2p.identity.key_files import load_key_file
    from swarmnode.recovery.phrase import words_of

    words = words_of(load_key_file(home.member_key).seed())
    click.echo(
        f"\nrecovery phrase: {words}\nWrite it down and keep it away from this machine: with it "
        "`swarmnode recover` brings back what is yours. `swarmnode key phrase` shows it again.",
        err=True,
    )


def report(
    home: Home, enrolled: enrol.Enrolled, changed: bool, next_step: str
) -> dict[str, object]:
    report: dict[str, object] = {"changed": changed, "peer": enrolled.peer}
    if enrolled.membership is not None:
        report["network"] = enrolled.membership.anchor.network
        report["root"] = enrolled.membership.anchor.root
    if enrolled.me is not None:
        me = enrolled.me
        report |= {"lab": me.lab_name, "lab_id": me.lab, "person": me.person_name}
        report |= {"machine": me.name, "site": me.site, "roles": list(me.roles)}
        report["valid_until"] = _date(me.expires_ms)
    elif enrolled.membership is not None:
        next_step = "the membership has ended: swarmnode join <new invite>"
    report |= {"config": str(home.config_file), "files": [str(path) for path in enrolled.files]}
    return report | {"next": next_step}


def _own_addresses(home: Home, now_ms: int) -> Sequence[str]:
    """Where the running node is, else where the configuration would put it."""
    peer = enrol.standing(home, False, now_ms).peer
    addresses = read_addresses(home)
    if not addresses:
        listen = load(home.config_file, os.environ).listen
        addresses = tuple(
            _reachable(address, peer) for address in listen.announce or listen.addresses
        )
    far = [address for address in addresses if not address.startswith(("/ip4/127.", "/ip6/::1/"))]
    return (far or list(addresses))[:INVITE_ADDRESSES_MAX]


def _reachable(address: str, peer: PeerId) -> str:
    """A configured listen address as others would dial it. Raises IdentityError."""
    if "/tcp/0" in address:
        raise IdentityError(
            "the node takes any free port and is not running: start it (swarmnode up), "
            "or give --address"
        )
    for wildcard, family, far in (
        ("/ip4/0.0.0.0/", socket.AF_INET, "192.0.2.1"),
        ("/ip6/::/", socket.AF_INET6, "2001:db8::1"),
    ):
        if address.startswith(wildcard):
            address = f"/{wildcard[1:4]}/{_outward(family, far)}/{address[len(wildcard) :]}"
    return address if "/p2p/" in address else f"{address}/p2p/{peer}"


def _outward(family: socket.AddressFamily, far: str) -> str:
    """Our address on the way to the world: connecting a UDP socket sends nothing."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1" if family == socket.AF_INET else "::1"


def _date(wall_ms: int) -> str:
    return datetime.fromtimestamp(wall_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
