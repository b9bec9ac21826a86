"""What a job leaves: the files and folders its patterns mean, each an object of the pool."""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Final

import msgspec
import trio

from p2p.wire.codec import encode
from storage.errors import PUT_LATER, StoreFullError
from storage.facade import Objects, trust_of
from storage.manifests.capability import text_of_cap
from swarmnode.errors import JobUnknownError, OutputUnsafeError
from swarmnode.executor.port import Executor, JobId
from swarmnode.limits import MANIFEST_BYTES_MAX, REASON_CHARS_MAX
from swarmnode.market.run.net import JobNet
from swarmnode.market.run.staging import over
from swarmnode.tasks.checkpoint import StoredFile
from swarmnode.tasks.records import JobRecord
from swarmnode.tree.format import EntryKind
from swarmnode.tree.names import joined, parts_in, text_of
from swarmnode.tree.pattern import Pattern
from swarmnode.tree.scan import Found, Scan, Special
from swarmnode.tree.select import Piece, Selection

STORE_PATIENCE_S: Final = 120.0
"""Outputs wait this long for a pool that cannot take them; then the work is given back."""
STORE_AGAIN_S: Final = 3.0
_LEFT_BEHIND: Final = b"__pycache__"
"""What Python writes beside modules is nobody's result."""
NAMES_TOO_LONG: Final = "the names of the outputs are too long: put them into one folder"


class Collected(msgspec.Struct, frozen=True):
    """Outputs that are stored, and what was asked for and is not, in words."""

    files: tuple[StoredFile, ...] = ()
    fault: str = ""
    note: str = ""
    """What no object can hold and nobody asked for by its name."""


async def collect(
    executor: Executor, objects: Objects, net: JobNet, record: JobRecord
) -> Collected:
    """Store whatever there is of the outputs. Raises JobOverError when the pool cannot take it."""
    if not record.spec.outputs and not record.spec.changes:
        return Collected()
    try:
        looked, chosen = await _chosen(executor, record)
    except (OutputUnsafeError, JobUnknownError) as exc:
        return Collected(fault=str(exc))
    faults = [*chosen.faults, *(f"no file matches {pattern!r}" for pattern in chosen.missing)]
    note = "; ".join(f"left out: {special}" for special in _special_in(looked, chosen.pieces))
    stored: list[StoredFile] = []
    for piece in chosen.pieces:
        try:
            stored.append(await _store(executor, objects, net, record, piece))
        except OutputUnsafeError as exc:
            faults.append(str(exc))
    return _collected(stored, faults, note)


async def _chosen(executor: Executor, record: JobRecord) -> tuple[Scan, Selection]:
    """What the patterns mean, and with `changes` what the task changed, as one piece more."""
    looked, chosen = await executor.select(JobId(record.job), _patterns(record))
    if not record.spec.changes or any(not piece.name for piece in chosen.pieces):
        return looked, chosen
    views = (view for view in executor.jobs() if view.job == record.job)
    ordered_ns = next((view.ordered_ns for view in views), 0)
    if (made := _changes(looked.found, record, ordered_ns)) is not None:
        chosen = msgspec.structs.replace(chosen, pieces=(*chosen.pieces, made))
    return looked, chosen


def _changes(found: Sequence[Found], record: JobRecord, ordered_ns: int) -> Piece | None:
    """What is newer than its inputs; of a restored attempt its checkpoints, too."""
    spec = record.spec.checkpoint
    saved = parts_in(spec.folder) if spec is not None and record.restore is not None else None
    inhabited = {name.parts[:-1] for name in found if name.parts}

    def is_new(name: Found) -> bool:
        if _LEFT_BEHIND in name.parts or not name.parts:
            return False
        if name.kind is EntryKind.FOLDER and name.parts in inhabited:
            return False  # it counts by what is in it
        is_saved = saved is not None and name.parts[: len(saved)] == saved
        return is_saved or name.changed_ns > ordered_ns

    new = {name.parts for name in found if is_new(name)}
    above = {parts[:depth] for parts in new for depth in range(len(parts))}
    chosen = tuple(name for name in found if name.parts in new or name.parts in above)
    return Piece((), (), chosen, True) if new else None


def _patterns(record: JobRecord) -> list[Pattern]:
    return [Pattern(pattern) for pattern in record.spec.outputs]


def _collected(stored: Sequence[StoredFile], faults: Sequence[str], note: str = "") -> Collected:
    """One message tells of all of them."""
    if sum(len(encode(file)) for file in stored) > MANIFEST_BYTES_MAX:
        return Collected(fault=NAMES_TOO_LONG)
    return Collected(tuple(stored), "; ".join(faults)[:REASON_CHARS_MAX], note[:REASON_CHARS_MAX])


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
        _, chosen = await _chosen(executor, record)
        for piece in chosen.pieces:
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
    executor: Executor, objects: Objects, net: JobNet, record: JobRecord, piece: Piece
) -> StoredFile:
    """One output; what an earlier life of this node stored of an ended job is taken as it is."""
    name = text_of(joined(piece.name)) or "."
    label, trust = output_label(record.job, name), trust_of(record.right)
    for entry in objects.entries() if trust is None else objects.entrusted():
        if entry.name == label:
            return StoredFile(name, entry.size, text_of_cap(entry.cap), piece.is_tree)
    give_up_s = trio.current_time() + STORE_PATIENCE_S
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
