"""`obj put | get | cat | ls | stat | rm`: objects in and out of the pool."""

import errno
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from swarmnode.cli import exits, folders
from swarmnode.cli.each import each
from swarmnode.cli.groups import NearestGroup
from swarmnode.cli.machines import Machines
from swarmnode.cli.output import emit, emit_rows, output_option, stamp
from swarmnode.cli.talk import human_bytes, node

DURABILITIES = ("durable", "quorum", "local")


@click.group(cls=NearestGroup)
def obj() -> None:
    """Store bytes in the pool and read them anywhere."""


@obj.command("put")
@click.argument("file", type=click.Path(allow_dash=True, path_type=Path), metavar="FILE|FOLDER|-")
@click.option("--name", default="", help="A name for `obj ls`  [default: the file's].")
@click.option("--durability", type=click.Choice(DURABILITIES), default="durable")
@output_option
def put(file: Path, name: str, durability: str, fmt: str) -> None:
    """Encrypt FILE here, spread it over the pool, print its capability.

    A FOLDER is one object: every name in it with its rights and links, and the contents. Whoever
    has the capability can read the object; without it nobody can.
    """
    shown = name or ("" if str(file) == "-" else folders.base_name(file))
    with node() as client, folders.source(file) as source:
        path = f"/api/v1/objects?name={quote(shown)}&durability={durability}"
        receipt = client.upload(path, source)
    if fmt != "table":
        emit(receipt, fmt)
        return
    click.echo(receipt["cap"])
    holders = len(receipt["holders"])
    site = "; all holders are at one site" if receipt["one_site"] and holders > 1 else ""
    click.echo(
        f"{human_bytes(receipt['size'])} as {receipt['k']} of {receipt['n']} on "
        f"{holders} machine{'' if holders == 1 else 's'} in {receipt['seconds']:.1f} s; "
        f"survives the loss of {receipt['survives']}{site}",
        err=True,
    )


@obj.command("get")
@click.argument("cap")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE|FOLDER")
@click.option("--force", is_flag=True, help="Replace FILE when it exists; never a folder.")
@click.option("--raw", is_flag=True, help="The bytes as they are, also those of a folder.")
@output_option
def get(cap: str, file: Path, force: bool, raw: bool, fmt: str) -> None:
    """Write the object to FILE; nothing appears there unless every byte was verified.

    What was put as a folder becomes one, which must not be there yet.
    """
    if os.path.lexists(file) and (not force or file.is_dir()):
        raise exits.CliError(f"{file} exists: choose another name or --force", exits.USAGE)
    with node() as client:
        chunks = client.download("/api/v1/objects/read", {"cap": cap})
        is_tree, chunks = folders.begins_as_tree(chunks)
        if is_tree and not raw:
            names, size = folders.write_tree(chunks, file)
        else:
            names, size = 0, _write_whole(chunks, file)
    shown = folders.shown(file)
    told: dict[str, object] = {"folder": shown, "files": names} if names else {"file": shown}
    emit(told | {"size": human_bytes(size) if fmt == "table" else size}, fmt)


def _write_whole(chunks: Iterator[bytes], file: Path) -> int:
    part = file.with_name(f".{file.name}.part{os.getpid()}")
    size = 0
    try:
        with part.open("wb") as out:
            for chunk in chunks:
                size += out.write(chunk)
        part.replace(file)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some space there" if full else "choose another place"
        raise exits.CliError(f"cannot write {file}: {error.strerror}: {remedy}") from error
    finally:
        part.unlink(missing_ok=True)
    return size


@obj.command("cat")
@click.argument("cap")
@click.option("--start", type=click.IntRange(0), default=0, help="First byte.")
@click.option("--length", type=click.IntRange(0), default=None, help="How many bytes.")
def cat(cap: str, start: int, length: int | None) -> None:
    """Write the object, or a range of it, to stdout."""
    wanted = {"cap": cap, "start": start, "length": length}
    with node() as client:
        for chunk in client.download("/api/v1/objects/read", wanted):
            sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


@obj.command("ls")
@output_option
def ls(fmt: str) -> None:
    """List the objects this node's owner put."""
    with node() as client:
        rows = client.get("/api/v1/objects")
    if fmt == "table":
        for row in rows:
            row["size"] = human_bytes(row["size"])
    emit_rows(rows, fmt, ("name", "size", "cap"))


@obj.command("stat")
@click.argument("cap_or_address")
@output_option
def stat(cap_or_address: str, fmt: str) -> None:
    """Show where an object's shards are and what losses it survives now."""
    with node() as client:
        found = client.get(f"/api/v1/objects/{_address(cap_or_address)}")
        if fmt != "table":
            emit(found, fmt)
            return
        shards = found.pop("shards")
        expires = stamp(found.pop("expires_ms"))
        emit(found | {"size": human_bytes(found["size"]), "expires": expires}, fmt)
        emit_rows(_holders(shards, Machines.seen_by(client)), fmt, ("holder", "alive", "shards"))


def _holders(shards: list[dict[str, Any]], machines: Machines) -> list[dict[str, object]]:
    """One row per machine: an object of a gigabyte has thousands of shards."""
    counts = Counter((one["holder"], one["alive"]) for one in shards)
    return [
        {"holder": machines.label(holder), "alive": alive, "shards": count}
        for (holder, alive), count in counts.items()
    ]


@obj.command("rm")
@click.argument("caps_or_addresses", nargs=-1, required=True, metavar="CAP_OR_ADDRESS...")
@output_option
def rm(caps_or_addresses: tuple[str, ...], fmt: str) -> int:
    """Give up our leases on objects: their holders free the space."""
    with node() as client:

        def remove(text: str) -> dict[str, Any]:
            found: dict[str, Any] = client.call("DELETE", f"/api/v1/objects/{_address(text)}")
            return {"address": _address(text), **found}

        rows, code = each(caps_or_addresses, remove)
    if len(caps_or_addresses) == 1 and rows:
        emit({key: one for key, one in rows[0].items() if key != "address"}, fmt)
    elif rows:
        emit_rows(rows, fmt, tuple(rows[0]))
    return code


def _address(text: str) -> str:
    """The address part of a capability: the key never travels in a URL."""
    if not text.startswith("swarm:"):
        return quote(text, safe="")
    from storage.caps import parse_cap, text_of_address
    from storage.errors import CapabilityError

    try:
        return text_of_address(parse_cap(text).address)
    except CapabilityError as error:
        raise exits.CliError(str(error), exits.USAGE) from error
