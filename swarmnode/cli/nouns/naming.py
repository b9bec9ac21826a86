"""What a machine and its owner are called: options, the names that follow, a first config.toml."""

import getpass
import json
import os
import socket
import time
from typing import NotRequired, TypedDict

import click

from p2p.errors import IdentityError
from p2p.identity.issue import Names
from p2p.identity.private_files import replace_private_file
from swarmnode.cli.output import CommandT
from swarmnode.home import enrol
from swarmnode.home.config import PROFILES, ROLES, Config
from swarmnode.home.config_load import load
from swarmnode.home.folders import Home, locate


class Naming(TypedDict):
    """What `naming_options` and `lab_recovery_option` give a command."""

    name: str
    site: str
    profile: str | None
    roles: tuple[str, ...]
    person: str
    lab: str
    lab_recovery: NotRequired[bool]
    """Not of `recover`, which has no such option."""


def naming_options(command: CommandT) -> CommandT:
    """What this machine and its owner are to be called; kept in config.toml."""
    for option in (
        click.option("--profile", type=click.Choice(list(PROFILES)), help="Kind of machine."),
        click.option("--role", "roles", multiple=True, type=click.Choice(ROLES)),
        click.option("--lab", default="", help="Name of the lab, where one is created."),
        click.option("--person", default="", help="Your name  [default: the login name]."),
        click.option("--site", default="", help="Room or building: what fails together."),
        click.option("--name", default="", help="Name of this machine  [default: host name]."),
    ):
        command = option(command)
    return command


lab_recovery_option = click.option(
    "--lab-recovery",
    is_flag=True,
    help="Let whoever holds the lab's key bring you back when phrase and machine are lost.",
)


def start(naming: Naming) -> tuple[Home, Config, Names]:
    """The home, its configuration with these flags, and the names that follow from both."""
    home = locate(os.environ)
    home.check_socket_paths()
    config = load(home.config_file, os.environ, _flags(naming))
    if naming.get("lab_recovery") and home.config_file.exists():
        _check_lab_recovery(home)
    machine = config.node.name or socket.gethostname()
    person_before, lab_before = enrol.names_before(home, wall_ms())
    person = naming["person"] or person_before or _login()
    lab = naming["lab"] or lab_before or f"{person}-lab"
    return home, config, Names(machine, person, lab, config.node.site, config.node.roles)


def _flags(naming: Naming) -> dict[str, object]:
    """What was given, by the key of the configuration that it sets."""
    texts = {
        "node.name": naming["name"],
        "node.site": naming["site"],
        "node.profile": naming["profile"],
    }
    flags: dict[str, object] = {key: text for key, text in texts.items() if text}
    if naming["roles"]:
        flags["node.roles"] = tuple(dict.fromkeys(naming["roles"]))
    if naming.get("lab_recovery"):
        flags["node.lab_recovery"] = "on"
    return flags


def _check_lab_recovery(home: Home) -> None:
    """Raises IdentityError where the flag would be forgotten: an existing file is left alone."""
    if load(home.config_file, os.environ).node.lab_recovery != "on":
        raise IdentityError(
            f'{home.config_file} is there already: write lab_recovery = "on" into its [node] '
            "in place of --lab-recovery"
        )


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user often has no name
        return f"user-{os.getuid()}"


def write_config(home: Home, config: Config, names: Names) -> bool:
    """A first config.toml that says what was chosen; an existing one is left alone."""
    if home.config_file.exists():
        return False
    lines = [
        "# Every key with its default: swarmnode config show --origin",
        "[node]",
        f"name = {_toml(names.machine)}",
        f"site = {_toml(names.site)}",
        f"roles = [{', '.join(_toml(role) for role in names.roles)}]",
        f"profile = {_toml(config.node.profile)}",
    ]
    if config.node.lab_recovery:
        lines.append(f"lab_recovery = {_toml(config.node.lab_recovery)}")
    replace_private_file(home.config_file, "\n".join([*lines, ""]).encode())
    return True


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def wall_ms() -> int:
    return time.time_ns() // 1_000_000
