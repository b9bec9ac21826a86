"""`swarmnode`: finds the command, loads only its module, and turns errors into exit codes.

Every command is one row of COMMANDS and one of SUMMARIES: `--help` imports click alone.
"""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Final

import click

from swarmnode.boot.early import ignore_interrupt, leave_on_interrupt, raise_on_interrupt
from swarmnode.cli import exits
from swarmnode.cli.groups import NearestGroup
from swarmnode.cli.output import complain

_UNWRITABLE: Final = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there",
    errno.EFBIG: "free some space there",
    errno.EIO: "look at that disk or terminal",
    errno.EBADF: "it is closed, or only to be read",
}
COMMANDS: Final[dict[str, str]] = {
    "api": "swarmnode.cli.nouns.api:api",
    "config": "swarmnode.cli.nouns.config:config",
    "doctor": "swarmnode.cli.doctor.command:doctor",
    "env": "swarmnode.cli.nouns.env:env",
    "init": "swarmnode.cli.nouns.enrol:init",
    "invite": "swarmnode.cli.nouns.enrol:invite",
    "join": "swarmnode.cli.nouns.enrol:join",
    "key": "swarmnode.cli.nouns.key:key",
    "demo": "swarmnode.demo.command:demo",
    "lock": "swarmnode.cli.nouns.unlock:lock",
    "member": "swarmnode.cli.nouns.member:member",
    "node": "swarmnode.cli.nouns.node:node_group",
    "obj": "swarmnode.cli.nouns.obj:obj",
    "peer": "swarmnode.cli.nouns.node:peer",
    "person": "swarmnode.cli.nouns.people:person",
    "ping": "swarmnode.cli.nouns.node:ping",
    "recover": "swarmnode.cli.nouns.key:recover",
    "run": "swarmnode.cli.project.command:run",
    "secret": "swarmnode.cli.nouns.secret:secret",
    "status": "swarmnode.cli.nouns.node:status",
    "task": "swarmnode.cli.task.commands:task",
    "token": "swarmnode.cli.nouns.people:token",
    "unlock": "swarmnode.cli.nouns.unlock:unlock",
    "up": "swarmnode.cli.nouns.up:up",
}
"""Command name to `module:attribute` of a click command."""

SUMMARIES: Final[dict[str, str]] = {
    "api": "Who may use this node's API over the network.",
    "config": "Show and check the configuration.",
    "doctor": "Check whether this machine can run a node, and say how to mend what cannot.",
    "env": "Environments: the packages of projects, built once for the pool.",
    "init": "Create this machine's keys, and with --new-network a network of your own.",
    "invite": "Make one string with which somebody else can join.",
    "join": "Join a network with an invite.",
    "key": "Your own key, from which everything of yours can be brought back.",
    "recover": "Become yourself again on a blank machine, by the recovery phrase on stdin.",
    "demo": "Nine measured steps on a swarm of real nodes on this machine.",
    "lock": "Let the node of this machine that you use forget your key, until your next command.",
    "member": "The people of the network; remove one.",
    "node": "This machine, by its owner: take it back, lend it again.",
    "obj": "Store bytes in the pool and read them anywhere.",
    "peer": "The members of the network, as this node sees them.",
    "person": "Other users of this machine who may use its node.",
    "ping": "Measure round trips to a member.",
    "run": "Run this folder's program on the pool: run -- COMMAND.",
    "secret": "Keys and passwords for your tasks: kept sealed, never shown.",
    "status": "Show the health of this node, then what it lends and keeps.",
    "task": "Run commands on the pool's machines.",
    "token": "Your bearer tokens for the API on TCP (api.tcp).",
    "unlock": "Bring your key to the node of this machine that you use: any command does so, too.",
    "up": "Run the node in the foreground.",
}
"""What `--help` says of each command: the first line of its docstring."""


class LazyGroup(NearestGroup):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in order."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, _, attribute = target.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        raise_on_interrupt()  # from here on there may be something to say of it
        return command

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: object,
    ) -> click.Context:
        """As click's, which prints `--help` and `--version` here."""
        with _reader_may_go():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> object:
        """As click's, which would end with code 1 when nobody reads our output."""
        with _reader_may_go():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List names and summaries without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, SUMMARIES[name]) for name in self.list_commands(ctx)])


@contextlib.contextmanager
def _reader_may_go() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise exits.ReaderGoneError from error


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        click.echo(f"swarmnode {version('swarmpool')}")
    except PackageNotFoundError:
        click.echo("swarmnode (not installed)")
    ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=(
        "Exit codes: 0 ok, 1 error, 2 usage, 3 node unreachable, 4 not allowed, 5 not found, "
        "6 degraded, 75 try again later, 125-127 task could not run, 130 interrupted, "
        "141 nobody reads the output."
    ),
)
@click.option(
    "-V",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version.",
)
def cli() -> None:
    """Pool the compute, memory, storage and network of many machines, with no central server."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code (see `swarmnode.cli.exits`)."""
    try:
        result = cli.main(list(arguments), prog_name="swarmnode", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as exc:
        click.echo(exc.format_message())
        return exits.USAGE
    except click.UsageError as exc:
        where = "swarmnode" if exc.ctx is None else exc.ctx.command_path
        complain(f"{exc.format_message()} (see: {where} --help)")
        return exc.exit_code
    except click.ClickException as exc:
        complain(exc.format_message())
        return exc.exit_code
    except OSError as exc:
        if not isinstance(exc.filename, str | bytes):
            raise  # of a stream: told by `main`
        complain(f"{os.fsdecode(exc.filename)}: {exc.strerror}{_remedy(exc)}")
        return exits.AUTH if isinstance(exc, PermissionError) else exits.ERROR
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted")
        return exits.INTERRUPTED
    return result if isinstance(result, int) else exits.OK


def _remedy(fault: OSError) -> str:
    """What to do about a file of this machine that no command had expected to be at fault."""
    if isinstance(fault, PermissionError):
        return ": it is another user's: set SWARM_HOME to a folder of your own"
    return f": {_UNWRITABLE[fault.errno]}" if fault.errno in _UNWRITABLE else ""


def main() -> None:
    """What both names run once it is loaded (`swarmnode.cli.entry`)."""
    _take_any_text()
    if sys.stdout is None:
        complain("standard output is closed: send it to /dev/null if nobody should see it")
        sys.exit(exits.USAGE)
    try:
        code = run(sys.argv[1:])
        leave_on_interrupt()
        sys.stdout.flush()
    except KeyboardInterrupt:  # again, while the first was being told
        code = exits.INTERRUPTED
    except (BrokenPipeError, exits.ReaderGoneError):  # as in `| head`
        code = exits.READER_GONE
        _write_no_more()
    except OSError as error:
        if error.filename is not None or error.errno not in _UNWRITABLE:
            raise
        _write_no_more()
        remedy = _UNWRITABLE[error.errno]
        complain(f"cannot write standard output: {error.strerror}: {remedy}")
        code = exits.ERROR
    ignore_interrupt()
    sys.exit(code)


def _take_any_text() -> None:
    """What the locale cannot show, or is no text, must not be what a command ends of."""
    for stream, errors in ((sys.stdin, "replace"), (sys.stdout, "backslashreplace")):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=errors)


def _write_no_more() -> None:
    """What is still to be written has nowhere to go: Python would try again at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


if __name__ == "__main__":
    main()
