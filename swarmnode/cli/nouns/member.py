"""`member`: the people of the network, and removing one of them."""

from collections import Counter

import click

from swarmnode.cli.client import Document
from swarmnode.cli.groups import NearestGroup
from swarmnode.cli.machines import short
from swarmnode.cli.output import emit, emit_rows, output_option, printable, stamp
from swarmnode.cli.talk import node, wait_option


@click.group(cls=NearestGroup)
def member() -> None:
    """The people of the network; remove one."""


@member.command("ls")
@wait_option
@output_option
def member_ls(wait_s: float, fmt: str) -> None:
    """List people and their machines, as their certificates say, and who was removed."""
    with node(wait_s) as client:
        rows = client.get("/api/v1/members")
    if fmt == "table":
        people = Counter(row["name"] for row in rows)
        machines = Counter(machine["name"] for row in rows for machine in row["machines"])
        rows = [row | _cells(row, people, machines) for row in rows]
    emit_rows(rows, fmt, ("name", "lab", "machines", "until", "invited_by", "standing", "id"))


def _label(name: str, identity: str, names: Counter[str]) -> str:
    """A name, with the end of the id where others have the same: `remove` takes both."""
    return name if names[name] == 1 else f"{name}{short(identity)}"


def _cells(row: Document, people: Counter[str], machines: Counter[str]) -> dict[str, object]:
    name = _label(row["name"], row["member"], people)
    return {
        "lab": row["lab_name"] or "-",
        "name": f"{name} (me)" if row["is_me"] else name,
        "machines": [
            _label(machine["name"], machine["peer"], machines) for machine in row["machines"]
        ],
        "until": stamp(row["valid_until_ms"])[:10],
        "standing": row["why"] or row["standing"],
        "id": short(row["member"]),
    }


@member.command("remove")
@click.argument("who")
@click.option("--with-invited", is_flag=True, help="Those who came with an invite of theirs, too.")
@output_option
def member_remove(who: str, with_invited: bool, fmt: str) -> None:
    """Remove a person (or a machine, lab or invite) by name or id: everywhere, and for good.

    Works where a key lies that stands above them: the lab's, or that of whoever invited them. Their
    connections and running tasks end within seconds; what they stored stays until its leases end.
    To come back they need a new invite and new keys.
    """
    with node() as client:
        wanted = {"who": who, "with_invited": with_invited}
        done: Document = client.call("POST", "/api/v1/members/remove", wanted)
    if fmt == "table":
        _print_removal(done)
    else:
        emit(done, fmt)


def _print_removal(done: Document) -> None:
    name = printable(done["name"] or done["id"])
    click.echo(f"{done['kind']} {name} is removed" if done["changed"] else f"{name} was, before")
    for name in done["along"]:
        click.echo(f"  with them: {printable(name)}")
    for name in done["closed"]:
        click.echo(f"  their invite lets nobody else in any more: {printable(name)}")
