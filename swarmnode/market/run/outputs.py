"""What a job leaves: the files and folders its patterns mean, each an object of the pool."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec
import trio
from blake3 import blake3
from msgspec.structs import replace

from p2p.wire.codec import encode
from storage.errors import PUT_LATER, StoreFullError
from storage.facade import Objects, trust_of
from storage.manifests.capability import text_of_cap
from swarmnode.errors import JobUnknownError, OutputUnsafeError
from swarmnode.executor.port import Executor, JobId
from swarmnode.limits import MANIFEST_BYTES_MAX, REASON_CHARS_MAX
from swarmnode.market.run.builds import Certify, record_of
from swarmnode.market.run.changes import changes
from swarmnode.market.run.net import JobNet
from swarmnode.market.run.staging import JobOverError, over
from swarmnode.tasks.checkpoint import StoredFile
from swarmnode.tasks.environments.naming import BUILD, RECORD, TREE
from swarmnode.tasks.records import JobRecord
from swarmnode.tree.names import joined, text_of
from swarmnode.tree.pattern import Pattern
from swarmnode.tree.scan import Found, Scan, Special
from swarmnode.tree.select import Piece, Selection

STORE_PATIENCE_S: Final = 120.0
"""Outputs wait this long for a pool that cannot take them; then the work is given back."""
STORE_AGAIN_S: Final = 3.0
NAMES_TOO_LONG: Final = "the names of the outputs are too long: put them into one folder"


class Collected(msgspec.Struct, frozen=True):
    """Outputs that are stored, and in words what is not."""

    files: tuple[StoredFile, ...] = ()
    missing: str = ""
    """Of what was asked for, what is not there: no surprise where the command itself failed."""
    fault: str = ""
    """Of it what is there, and could not be kept."""
    note: str = ""
    """What no object can hold and nobody asked for by its name."""


async def collect(
    executor: Executor,
    objects: Objects,
    net: JobNet,
    record: JobRecord,
    certify: Certify | None = None,
) -> Collected:
    """Store whatever there is of the outputs. Raises JobOverError when the pool cannot take it."""
    if not record.spec.outputs and not record.spec.changes:
        return Collected()
    try:
        looked, chosen = await executor.select(JobId(record.job), _patterns(record))
    except (OutputUnsafeError, JobUnknownError) as exc:
        return Collected(fault=str(exc))
    missing = "; ".join(f"no file matches {pattern!r}" for pattern in chosen.missing)
    faults = [*chosen.faults]
    notes = [f"left out: {special}" for special in _special_in(looked, chosen.pieces)]
    stored: list[StoredFile] = []
    for piece in chosen.pieces:
        try:
            stored.append(await _store(executor, objects, net, record, piece))
        except OutputUnsafeError as exc:
            faults.append(str(exc))
    is_whole = not missing and not faults
    if certify is not None and is_whole and record.spec.env.startswith(BUILD):
        pieces = {text_of(joined(piece.name)): piece for piece in chosen.pieces}
        try:
            stored += await _certified(executor, objects, record, stored, pieces, certify)
        except (OutputUnsafeError, *PUT_LATER) as exc:
            faults.append(f"the environment has no record: {exc}")
    try:
        stored += await _store_changes(executor, objects, net, record, looked.found, chosen)
    except (OutputUnsafeError, JobOverError) as exc:  # nobody named it: it fails nothing
        notes.append(f"what it changed is not kept: {exc}")
    return replace(_collected(stored, faults, "; ".join(notes)), missing=missing)


async def _certified(
    executor: Executor,
    objects: Objects,
    record: JobRecord,
    stored: Sequence[StoredFile],
    pieces: Mapping[str, Piece],
    certify: Certify,
) -> list[StoredFile]:
    """The signed record of an environment that was built. Raises OutputUnsafeError, PUT_LATER."""
    trees = [file for file in stored if file.name == TREE and file.tree]
    if not trees or TREE not in pieces:
        return []
    hasher = blake3()
    async for chunk in _chunks(executor, record, pieces[TREE]):
        hasher.update(chunk)
    made = await record_of(executor, objects, record, trees[0], hasher.digest())
    data, label = encode(certify(made)), output_label(record.job, RECORD)
    receipt = await objects.put(_once(data), name=label, trust=trust_of(record.right))
    return [StoredFile(RECORD, receipt.size, text_of_cap(receipt.cap))]


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _store_changes(
    executor: Executor,
    objects: Objects,
    net: JobNet,
    record: JobRecord,
    found: Sequence[Found],
    chosen: Selection,
) -> list[StoredFile]:
    """What the task changed, beside what was asked for. Raises OutputUnsafeError, JobOverError."""
    made = await _unasked(executor, record, found, chosen)
    return [await _store(executor, objects, net, record, one, patience_s=0.0) for one in made]


async def _unasked(
    executor: Executor, record: JobRecord, found: Sequence[Found], chosen: Selection
) -> list[Piece]:
    """What it changed as one piece, unless what was asked for makes the whole folder already."""
    if not record.spec.changes or any(not piece.name for piece in chosen.pieces):
        return []
    views = (view for view in executor.jobs() if view.job == record.job)
    made = await changes(found, record, next((view.ordered_ns for view in views), 0))
    return [] if made is None else [made]


def _patterns(record: JobRecord) -> list[Pattern]:
    return [Pattern(pattern) for pattern in record.spec.outputs]


def _collected(stored: Sequence[StoredFile], faults: Sequence[str], note: str = "") -> Collected:
    """One message tells of all of them."""
    if sum(len(encode(file)) for file in stored) > MANIFEST_BYTES_MAX:
        return Collected(fault=NAMES_TOO_LONG)
    fault = "; ".join(faults)[:REASON_CHARS_MAX]
    return Collected(tuple(stored), fault=fault, note=note[:REASON_CHARS_MAX])


def _special_in(looked: Scan, pieces: Sequence[Piece]) -> list[Special]:
    """Sockets and the like in the folders that were asked for."""
    tops = [piece.base for piece in pieces if piece.is_tree]
    return [
        special
        for special in looked.left_out
        if any(special.parts[: len(top)] == top for top in tops)
    ]


async def snapshot(executor: Executor, objects: Objects, record: JobRecord) -> Collected:
    """Store what there is of the outputs of a job that runs; the last snapshot goes."""
    await _forget_snapshot(objects, record)
    net, stored, faults = JobNet(record.spec.shape.net), list[StoredFile](), list[str]()
    try:
        looked, chosen = await executor.select(JobId(record.job), _patterns(record))
        faults += chosen.faults
        for piece in (*chosen.pieces, *await _unasked(executor, record, looked.found, chosen)):
            stored.append(await _put_snapshot(executor, objects, net, record, piece))
    except (OutputUnsafeError, JobUnknownError, *PUT_LATER) as exc:
        faults.append(str(exc))
    collected = _collected(stored, faults)
    if collected.fault == NAMES_TOO_LONG:
        await _forget_snapshot(objects, record)
    return collected


async def _put_snapshot(
    executor: Executor, objects: Objects, net: JobNet, record: JobRecord, piece: Piece
) -> StoredFile:
    name, label = text_of(joined(piece.name)) or ".", _snapshot_label(record)
    chunks = _chunks(executor, record, piece, may_grow=True)
    receipt = await objects.put(net.up(chunks), name=f"{label}{name}", trust=trust_of(record.right))
    return StoredFile(name, receipt.size, text_of_cap(receipt.cap), piece.is_tree)


def _chunks(
    executor: Executor, record: JobRecord, piece: Piece, *, may_grow: bool = False
) -> AsyncIterator[bytes]:
    job = JobId(record.job)
    if piece.is_tree:
        return executor.pack(job, piece.base, piece.found, may_grow=may_grow)
    return executor.read_file(job, text_of(joined(piece.base)))


def _snapshot_label(record: JobRecord) -> str:
    return f"snapshot/{record.job}/"


async def _forget_snapshot(objects: Objects, record: JobRecord) -> None:
    for entry in (*objects.entrusted(), *objects.entries()):
        if entry.name.startswith(_snapshot_label(record)):
            with suppress(StoreFullError):  # it ends with its lease
                await objects.forget(entry.cap.address)


async def _store(
    executor: Executor,
    objects: Objects,
    net: JobNet,
    record: JobRecord,
    piece: Piece,
    *,
    patience_s: float = STORE_PATIENCE_S,
) -> StoredFile:
    """One output; what an earlier life of this node stored of an ended job is taken as it is."""
    name = text_of(joined(piece.name)) or "."
    label, trust = output_label(record.job, name), trust_of(record.right)
    for entry in objects.entries() if trust is None else objects.entrusted():
        if entry.name == label:
            return StoredFile(name, entry.size, text_of_cap(entry.cap), piece.is_tree)
    give_up_s = trio.current_time() + patience_s
    while True:
        try:
            chunks = net.up(_chunks(executor, record, piece))
            receipt = await objects.put(chunks, name=label, trust=trust)
        except PUT_LATER as exc:
            if trio.current_time() >= give_up_s:
                raise over("stopped", "outputs", f"{name}: {exc}") from exc
            await trio.sleep(STORE_AGAIN_S)
        else:
            return StoredFile(name, receipt.size, text_of_cap(receipt.cap), piece.is_tree)


def output_label(job: str, name: str) -> str:
    """What an output is called here until its owner has it; every output's with an empty name."""
    return f"output/{job}/{name}"


async def let_go(objects: Objects, record: JobRecord, *, is_wanted: bool) -> None:
    """The job is settled: its owner has what it left, or nobody wants it and holders free it.

    On a full disk neither can be written down: then they end with their leases.
    """
    await _forget_snapshot(objects, record)
    for entry in objects.entrusted():
        if entry.name.startswith(output_label(record.job, "")):
            with suppress(StoreFullError):
                if is_wanted:
                    await objects.hand_over(entry.cap.address)
                else:
                    await objects.forget(entry.cap.address)
