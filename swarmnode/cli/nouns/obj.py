"""`obj put | get | cat | ls | stat | rm`: objects in and out of the pool."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from swarmnode.cli import exits
from swarmnode.cli.client import Client, Document, Source
from swarmnode.cli.each import each
from swarmnode.cli.files import folders
from swarmnode.cli.files.local import ChangedError, check_target, write_out, write_whole
from swarmnode.cli.files.progress import Counted, Progress
from swarmnode.cli.files.upload import looked_at, put_folder
from swarmnode.cli.groups import NearestGroup
from swarmnode.cli.machines import Machines
from swarmnode.cli.output import complain, emit, emit_rows, or_said, output_option, stamp
from swarmnode.cli.removed import say_if_out
from swarmnode.cli.talk import as_lab_options, as_lab_query, human_bytes, in_path, node

PUT_TRIES_MAX = 3
"""Times a file that changes while it is read is read anew."""
DURABILITIES = ("durable", "quorum", "local")
_UNKNOWN = "whether it was stored is not known: see swarmnode obj ls, which has its capability then"
"""Who interrupts a put of which the node has all bytes."""
KINDS = ("put", "input", "output", "checkpoint")


class _NamedPath(click.Path):
    """A path that is not empty, as that of a variable that was never set, which means `.`."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        """As click's."""
        if value == "":
            self.fail("the name is empty: `.` is this folder", param, ctx)
        return super().convert(value, param, ctx)


@click.group(cls=NearestGroup)
def obj() -> None:
    """Store bytes in the pool and read them anywhere."""


@obj.command("put")
@click.argument("file", type=_NamedPath(allow_dash=True, path_type=Path), metavar="FILE|FOLDER|-")
@click.option("--name", default="", help="A name for `obj ls`  [default: the file's].")
@click.option("--durability", type=click.Choice(DURABILITIES), default="durable")
@output_option
def put(file: Path, name: str, durability: str, fmt: str) -> None:
    """Encrypt FILE here, spread it over the pool, print its capability.

    A FOLDER is one object: every name in it with its rights and links, and the contents. Whoever
    has the capability can read the object; without it nobody can.
    """
    shown = name or ("" if str(file) == "-" else folders.base_name(file))
    query = f"name={shown and in_path(shown)}&durability={durability}"
    with node() as client:
        receipt = _upload(client, query, file, fmt)
    with or_said("it is stored all the same: its capability stands in swarmnode obj ls"):
        if fmt != "table":
            emit(receipt, fmt)
        else:
            click.echo(receipt["cap"])
    if fmt == "table":
        _print_receipt(receipt)
    if len(receipt["holders"]) < 2:
        say_if_out(client)


def _print_receipt(receipt: Document) -> None:
    holders = len(receipt["holders"])
    site = "; all holders are at one site" if receipt["one_site"] and holders > 1 else ""
    if receipt["one_person"]:
        site += "; all holders are machines of one other person"
    click.echo(
        f"{human_bytes(receipt['size'])} as {receipt['k']} of {receipt['n']} on "
        f"{holders} machine{'' if holders == 1 else 's'} in {receipt['seconds']:.1f} s; "
        f"survives the loss of {receipt['survives']}{site}",
        err=True,
    )


@obj.command("get")
@click.argument("cap")
@click.argument("file", type=_NamedPath(allow_dash=True, path_type=Path), metavar="FILE|FOLDER|-")
@click.option("--force", is_flag=True, help="Replace FILE when it exists; regular files only.")
@click.option("--raw", is_flag=True, help="The bytes as they are, also those of a folder.")
@output_option
def get(cap: str, file: Path, force: bool, raw: bool, fmt: str) -> None:
    """Write the object to FILE, `-` for stdout; FILE appears when every byte was verified.

    What was put as a folder becomes one, which must not be there yet.
    """
    shown = folders.shown(file)
    is_stdout = str(file) == "-"
    if not is_stdout:
        check_target(file, shown, force=force)
    with node() as client:
        progress = Progress("get", fmt=fmt, is_stdout=is_stdout)
        chunks = progress.passing(client.download("/api/v1/objects/read", {"cap": cap}))
        names, size = _write(chunks, None if is_stdout else file, raw=raw)
    if is_stdout:
        return
    told: dict[str, object] = {"folder": shown, "files": names} if names else {"file": shown}
    emit(told | {"size": human_bytes(size) if fmt == "table" else size}, fmt)


def _write(chunks: Iterator[bytes], file: Path | None, *, raw: bool) -> tuple[int, int]:
    """To stdout where there is no file: names, 0 for what is no folder, and bytes."""
    is_tree, chunks = folders.begins_as_tree(chunks)
    if is_tree and not raw:
        if file is None:
            raise exits.CliError("it is a folder: name one to make, or add --raw", exits.USAGE)
        return folders.write_tree(chunks, file)
    if file is None:
        return 0, write_out(chunks)
    return 0, write_whole(chunks, file, folders.shown(file))


def _upload(client: Client, query: str, file: Path, fmt: str) -> Document:
    """Send a file, folder or `-`; what changed while it was read is read again. The receipt."""
    if str(file) != "-" and folders.is_tree(file):
        return _upload_folder(client, query, file, fmt)
    path = f"/api/v1/objects?{query}"
    for left in reversed(range(PUT_TRIES_MAX)):
        with folders.source(file) as source:
            progress = Progress("put", getattr(source, "size", None), fmt=fmt)
            counted = progress.reading(source)
            try:
                receipt: Document = client.upload(path, counted)
            except KeyboardInterrupt:
                if counted.is_at_end:
                    click.echo(_UNKNOWN, err=True)
                raise
            except ChangedError as error:
                if not left:
                    raise
                complain(f"{error.format_message()} (reading it again)")
            else:
                return receipt
            finally:
                progress.end()
    raise AssertionError


def _upload_folder(client: Client, query: str, path: Path, fmt: str) -> Document:
    """Send what is new of a folder. The receipt."""
    sent: list[tuple[Progress, Counted]] = []

    def counted(source: Source) -> Counted:
        progress = Progress("put", getattr(source, "size", None), fmt=fmt)
        sent.append((progress, progress.reading(source)))
        return sent[-1][1]

    try:
        return put_folder(client, looked_at(path), query, is_shared=False, counted=counted)
    except KeyboardInterrupt:
        if sent and sent[-1][1].is_at_end:
            click.echo(_UNKNOWN, err=True)
        raise
    finally:
        for progress, _ in sent:
            progress.end()


@obj.command("cat")
@click.argument("cap")
@click.option("--start", type=click.IntRange(0), default=0, help="First byte.")
@click.option("--length", type=click.IntRange(0), default=None, help="How many bytes.")
def cat(cap: str, start: int, length: int | None) -> None:
    """Write the object, or a range of it, to stdout."""
    wanted = {"cap": cap, "start": start, "length": length}
    with node() as client:
        chunks = client.download("/api/v1/objects/read", wanted)
        size = write_out(Progress("read", is_stdout=True).passing(chunks))
    if start and not size and length != 0:
        click.echo(f"nothing was written: the object has no byte {start}", err=True)


@obj.command("ls")
@click.option("--kind", type=click.Choice(KINDS), help="Only these.")
@click.option("--task", "task_id", default="", help="Only of this task (its id).")
@output_option
def ls(kind: str | None, task_id: str, fmt: str) -> None:
    """List your objects: what you put, and what your tasks use and left; the oldest first."""
    with node() as client:
        rows = client.get("/api/v1/objects?survives=1")
    rows = [
        row
        for row in rows
        if kind in (None, row["kind"] or "put") and row["task"].startswith(task_id)
    ]
    if fmt == "table":
        rows = [row | _cells(row) for row in rows]
    emit_rows(rows, fmt, ("put", "size", "kind", "task", "survives", "name", "cap"))


def _cells(row: Document) -> dict[str, str]:
    cells = {"put": stamp(row["put_ms"]), "size": human_bytes(row["size"])}
    if at_ms := row.get("removed_ms"):
        cells["survives"] = f"removed by the lab's key, {stamp(at_ms)}: {row['removed_why']}"
    return cells | {"kind": row["kind"] or "put"}


@obj.command("du")
@output_option
def du(fmt: str) -> None:
    """Show what your objects cost, by task, the dearest first; `unfinished`: puts under way.

    STORED counts the copies or the parity on all machines.
    """
    with node() as client:
        rows = client.get("/api/v1/costs")
        names = {task["task"]: task["name"] for task in client.get("/api/v1/tasks")}
    if fmt != "table":
        emit_rows(rows, fmt, ())
        return
    total = {"task": "all"} | {key: sum(row[key] for row in rows) for key in _COUNTED}
    for row in (*rows, total):
        row |= {"size": human_bytes(row["size"]), "stored": human_bytes(row["stored"])}
        row["name"] = names.get(row["task"], "")
        row["kind"] = row.get("kind") or ("" if row is total else "put")
    emit_rows([*rows, total], fmt, ("stored", "size", "objects", "kind", "task", "name"))


_COUNTED = ("objects", "size", "stored")


@obj.command("stat")
@click.argument("cap_or_address")
@output_option
def stat(cap_or_address: str, fmt: str) -> int:
    """Ask an object's holders what they have, and what losses it survives now.

    Exits 6 when shards are missing or out of reach, and when it cannot be read.
    """
    with node() as client:
        detail = client.get(f"/api/v1/objects/{_address(cap_or_address)}")
        code = exits.OK if detail["health"] == "whole" else exits.DEGRADED
        if fmt != "table":
            emit(detail, fmt)
            return code
        shards = detail.pop("shards")
        expires = stamp(detail.pop("expires_ms"))
        emit(detail | {"size": human_bytes(detail["size"]), "expires": expires}, fmt)
        emit_rows(_holders(shards, Machines.seen_by(client)), fmt, ("holder", "has_it", "shards"))
    return code


def _holders(shards: list[Document], machines: Machines) -> list[dict[str, object]]:
    """One row per machine: an object of a gigabyte has thousands of shards."""
    counts = Counter((shard["holder"], shard["alive"]) for shard in shards)
    return [
        {"holder": machines.label(holder), "has_it": alive, "shards": count}
        for (holder, alive), count in counts.items()
    ]


@obj.command("rm")
@click.argument("caps_or_addresses", nargs=-1, required=True, metavar="CAP_OR_ADDRESS...")
@as_lab_options
@output_option
def rm(caps_or_addresses: tuple[str, ...], as_lab: bool, reason: str, fmt: str) -> int:
    """Give up our leases on objects: their holders free the space.

    What you put on another machine of yours goes, too. A holder that is away frees it when it
    returns; until then nobody makes new copies.
    """
    query = as_lab_query(as_lab, reason)
    with node() as client:
        rows, code = each(caps_or_addresses, lambda text: _remove(client, text, query))
        is_waiting = fmt == "table" and any(row["waiting"] for row in rows)
        machines = Machines.seen_by(client) if is_waiting else Machines(())
    shown = [_removed(row, machines) for row in rows] if fmt == "table" else rows
    if len(caps_or_addresses) == 1 and rows:
        emit({key: value for key, value in shown[0].items() if key != "address"}, fmt)
    elif rows:
        emit_rows(shown, fmt, tuple(shown[0]))
    return code


def _remove(client: Client, text: str, query: str) -> Document:
    address = _address(text)
    return {"address": address, **client.call("DELETE", f"/api/v1/objects/{address}{query}")}


def _removed(row: Document, machines: Machines) -> Document:
    waiting = [machines.label(peer) for peer in row["waiting"]]
    words = removal_words(row["holders"], row["dropped"], waiting) if row["changed"] else "-"
    return {"address": row["address"], "changed": row["changed"], "holders": words}


def removal_words(holders: int, dropped: int, waiting: list[str]) -> str:
    """How far a removal has come, for people."""
    if not waiting:
        return f"all {holders} holders gave it up" if holders != 1 else "its holder gave it up"
    rest = "the other once it answers" if len(waiting) == 1 else "the others once they answer"
    return f"{dropped} of {holders} holders gave it up; {rest}: {', '.join(waiting)}"


def _address(text: str) -> str:
    """The address part of a capability: the key never travels in a URL."""
    if not text.startswith("swarm:"):
        return in_path(text)
    from storage.errors import CapabilityError
    from storage.manifests.capability import parse_cap, text_of_address

    try:
        return text_of_address(parse_cap(text).address)
    except CapabilityError as error:
        raise exits.CliError(str(error), exits.USAGE) from error
