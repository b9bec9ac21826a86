"""`up`: becomes the node process; flags travel as SWARM_SECTION__KEY."""

import os
import sys
from collections.abc import Mapping
from typing import Final, NoReturn

import click

from swarmnode.boot.early import hold_interrupts
from swarmnode.cli import exits, neighbours
from swarmnode.cli.output import CommandT, reporting
from swarmnode.home.config import PROFILES
from swarmnode.home.config_load import load
from swarmnode.home.folders import locate

_OPTIONS: Final = (
    click.option("--profile", type=click.Choice(list(PROFILES)), help="Kind of machine."),
    click.option(
        "--listen", "addresses", multiple=True, metavar="MULTIADDR", help="Where to listen."
    ),
    click.option("--api-tcp", default="", metavar="HOST:PORT", help="Also serve the API here."),
    click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"])),
)


def node_options(command: CommandT) -> CommandT:
    """Give a command those of a node that is started."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@node_options
def up(
    profile: str | None, addresses: tuple[str, ...], api_tcp: str, log_level: str | None
) -> None:
    """Run the node in the foreground until SIGTERM or Ctrl-C.

    The first signal drains: no new work, tasks keep running under their shims. A second one stops
    at once.
    """
    start(profile, addresses, api_tcp, log_level)


def start(
    profile: str | None, addresses: tuple[str, ...], api_tcp: str, log_level: str | None
) -> NoReturn:
    """Become the node. Raises CliError where it could not begin."""
    flags = {
        "SWARM_NODE__PROFILE": profile or "",
        "SWARM_LISTEN__ADDRESSES": ",".join(addresses),
        "SWARM_API__TCP": api_tcp,
        "SWARM_LOG__LEVEL": log_level or "",
    }
    if addresses or api_tcp:
        _refuse_wrong({"listen.addresses": ",".join(addresses), "api.tcp": api_tcp})
    _refuse_second_node()
    environ = dict(os.environ) | {key: value for key, value in flags.items() if value}
    hold_interrupts()
    os.execve(sys.executable, [sys.executable, "-m", "swarmnode.daemon"], environ)  # noqa: S606


def _refuse_wrong(given: Mapping[str, object]) -> None:
    """Here they are told as what was typed, with whatever else is wrong; to the node that begins
    they are variables."""
    with reporting():
        load(locate(os.environ).config_file, os.environ, given)


def _refuse_second_node() -> None:
    """Who uses another's node of this machine would hear how to join or found a network."""
    with reporting():
        host = neighbours.hosts_us()
    if host:
        raise exits.CliError(
            f"the node of {host} serves you on this machine: all commands go to that one. To have "
            "one of your own, swarmnode join or swarmnode init first",
            exits.AUTH,
        )
