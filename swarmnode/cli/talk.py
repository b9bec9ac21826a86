"""Talking to the running node from a command: find its socket, turn problems into exit codes."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

import click

from swarmnode.cli import exits, neighbours, person_key
from swarmnode.cli.client import (
    ApiError,
    Client,
    ClientSettingError,
    NodeUnreachableError,
    client_from_environment,
)
from swarmnode.cli.output import CommandT, reporting
from swarmnode.home.folders import Home, locate

EXIT_OF_CODE: Final[Mapping[str, int]] = {
    "bad_capability": exits.USAGE,
    "bad_spec": exits.USAGE,
    "bad_request": exits.USAGE,
    "object_unknown": exits.NOT_FOUND,
    "task_unknown": exits.NOT_FOUND,
    "task_ambiguous": exits.NOT_FOUND,
    "attempt_unknown": exits.NOT_FOUND,
    "secret_unknown": exits.NOT_FOUND,
    "secret_refused": exits.USAGE,
    "member_unknown": exits.NOT_FOUND,
    "member_ambiguous": exits.USAGE,
    "removal_refused": exits.AUTH,
    "task_not_ended": exits.TEMPORARY,
    "task_not_running": exits.TEMPORARY,
    "task_unreachable": exits.TEMPORARY,
    "token_needed": exits.AUTH,
    "scope": exits.AUTH,
    "not_let_in": exits.AUTH,
    "not_allowed": exits.AUTH,
    "locked": exits.AUTH,
    "other_key": exits.AUTH,
    "person_unknown": exits.NOT_FOUND,
    "token_unknown": exits.NOT_FOUND,
    "bad_host": exits.AUTH,
    "object_degraded": exits.DEGRADED,
    "too_few_peers": exits.TEMPORARY,
    "pool_unknown": exits.TEMPORARY,
    "peer_timeout": exits.TEMPORARY,
    "peer_unreachable": exits.TEMPORARY,
    "no_bids": exits.TEMPORARY,
    "starting": exits.TEMPORARY,
}
"""Problem code -> exit code; anything else is 1."""


class Seconds(click.ParamType[float]):
    """A time to wait: a number that is not negative and not `nan`."""

    name = "seconds"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Text to seconds."""
        try:
            seconds = float(str(value))
        except ValueError:
            seconds = -1.0
        if not seconds >= 0:
            self.fail(f"{value!r} is not a valid number of seconds: write 30 or 0.5", param, ctx)
        return seconds


def in_path(text: str) -> str:
    """Any text of the command line as part of a URL. Raises CliError for none."""
    if not text:
        raise exits.CliError("a name is empty: was a variable meant that is not set?", exits.USAGE)
    return quote(text, safe="", errors="surrogateescape")


def wait_option(command: CommandT) -> CommandT:
    """Give a command `--wait SECONDS`: how long the node may still take to be ready."""
    return click.option(
        "--wait",
        "wait_s",
        type=Seconds(),
        default=0.0,
        metavar="SECONDS",
        help="Wait this long for the node to be ready.",
    )(command)


def as_lab_options(command: CommandT) -> CommandT:
    """Give a command `--as-lab` and `--reason`: it acts with the lab's key on what is anybody's."""
    command = click.option(
        "--reason", default="", metavar="TEXT", help="With --as-lab: shown to the owner."
    )(command)
    return click.option(
        "--as-lab", is_flag=True, help="Anybody's of the lab, by its key, which lies here."
    )(command)


def as_lab_query(as_lab: bool, reason: str) -> str:
    """What those ask of the node, for the end of a URL. Raises UsageError."""
    if reason and not as_lab:
        raise click.UsageError("--reason goes with --as-lab")
    return f"?{urlencode({'as_lab': 1, 'reason': reason})}" if as_lab else ""


@contextmanager
def node(wait_s: float = 0.0, *, unlocks: bool = True) -> Iterator[Client]:
    """The local node's client; its errors end the command with one line and the right code.

    At somebody else's node of this machine it unlocks what is ours there first.
    """
    home = here()
    home_socket = _socket_of(home.api_socket)
    try:
        client = client_from_environment(home_socket)
        if wait_s > 0:
            client.wait_ready(wait_s)
        if unlocks and not client.url and client.socket_path != home.api_socket:
            person_key.offer(client, home)
        yield client
    except NodeUnreachableError as error:
        has_own = _is_there(home.machine_key) or os.environ.get("SWARM_API")
        words = str(error) if has_own else neighbours.whom_to_ask() or str(error)
        raise exits.CliError(words, exits.UNREACHABLE) from error
    except ClientSettingError as error:
        raise exits.CliError(str(error), exits.USAGE) from error
    except ApiError as error:
        code = EXIT_OF_CODE.get(error.code, exits.ERROR)
        raise exits.CliError(str(error), code) from error
    except EOFError as error:
        raise exits.CliError(str(error), exits.DEGRADED) from error


def here() -> Home:
    """The folders of whoever types; a fault in the environment ends the command."""
    with reporting():
        return locate(os.environ)


def _socket_of(own: Path) -> Path:
    """Our own node's, or that of the node which serves all users of this machine."""
    shared = neighbours.SHARED_SOCKET
    return shared if not _is_there(own) and _is_there(shared) else own


def _is_there(path: Path) -> bool:
    """Whether it is; where we may not look, whoever uses it is told that it is another's."""
    try:
        return path.exists()
    except PermissionError:
        return True


def human_bytes(size: float) -> str:
    """1536 -> `1.5 KiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
