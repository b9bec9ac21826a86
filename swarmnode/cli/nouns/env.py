"""`env`: environments of the pool, as this person has used them."""

from typing import Final

import click

from swarmnode.cli import exits
from swarmnode.cli.client import Client, Document
from swarmnode.cli.each import each
from swarmnode.cli.groups import NearestGroup
from swarmnode.cli.machines import Machines
from swarmnode.cli.output import emit, emit_rows, output_option, stamp
from swarmnode.cli.talk import human_bytes, node, wait_option

_PATH: Final = "/api/v1/environments"
_KEY_CHARS: Final = 12
"""Of a key, what is shown and may be typed."""


@click.group(cls=NearestGroup)
def env() -> None:
    """Environments: the packages of projects, built once for the pool."""


@env.command("ls")
@output_option
def env_ls(fmt: str) -> None:
    """List the environments that you have used: their size, last use, and who has them."""
    with node() as client:
        rows = client.get(_PATH)
        machines = Machines.seen_by(client) if fmt == "table" else None
    if machines is None:
        emit_rows(rows, fmt, ())
        return
    emit_rows([_cells(row, machines) for row in rows], fmt, _COLUMNS)


_COLUMNS: Final = ("key", "from", "python", "packages", "size", "used", "on")


def _cells(row: Document, machines: Machines) -> Document:
    warm = ", ".join(machines.label(peer) for peer in row["warm"])
    return {
        "key": row["key"][:_KEY_CHARS],
        "from": row["source"] + (" (private)" if row["private"] else ""),
        "python": row["python"],
        "packages": row["packages"],
        "size": human_bytes(row["size"]),
        "used": stamp(row["used_ms"]),
        "on": warm or "-",
    }


@env.command("build")
@click.argument("file", required=False, default="")
@click.option("--allow-build", is_flag=True, help="Packages without wheels are built, too.")
@click.option(
    "--extra", "extras", multiple=True, metavar="NAME", help="Also this extra's packages."
)
@click.option(
    "--group", "groups", multiple=True, metavar="NAME", help="Also this group's packages."
)
@click.option("--upgrade", is_flag=True, help="Resolve anew what has no lock of its own.")
@wait_option
@output_option
def env_build(
    file: str,
    *,
    allow_build: bool,
    extras: tuple[str, ...],
    groups: tuple[str, ...],
    upgrade: bool,
    wait_s: float,
    fmt: str,
) -> None:
    """Build the environment of this project now: of FILE, or of what there is.

    uv.lock, pylock.toml, requirements.txt and pyproject.toml are looked for, in this order.
    """
    from swarmnode.cli.project import packages
    from swarmnode.cli.project.sending import project_here

    project = project_here()
    asked = (extras, groups)
    lock = packages.lock_here(project, file, asked, allow_build=allow_build, again=upgrade)
    if lock is None:
        raise exits.CliError(
            packages.not_read(project)
            or "nothing here says which packages it needs: uv.lock, pylock.toml, requirements.txt "
            "or dependencies in pyproject.toml",
            exits.USAGE,
        )
    with node(wait_s) as client:
        line = packages.have(client, lock)
    if fmt != "table":
        emit(line, fmt)
    else:
        click.echo(line["key"][:_KEY_CHARS])


@env.command("rm")
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@output_option
def env_rm(keys: tuple[str, ...], fmt: str) -> int:
    """Forget environments, by the beginning of their key; what was stored of them is freed.

    Machines that have them laid out let them go when they need the room.
    """
    with node() as client:
        rows, code = each(keys, lambda key: _forget(client, key))
    if rows or fmt != "table":
        emit_rows(rows, fmt, ("key", "changed"))
    return code


def _forget(client: Client, key: str) -> Document:
    known = [row["key"] for row in client.get(_PATH) if row["key"].startswith(key)]
    if len(known) != 1:
        what = "no environment" if not known else "several environments"
        raise exits.CliError(f"{what} of that key: {key}", exits.NOT_FOUND)
    done = client.call("POST", f"{_PATH}/forget", {"key": known[0]})
    return {"key": known[0][:_KEY_CHARS], **done}
