"""Objects as the API tells them, and what they survive and cost."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import trio

from storage.errors import ObjectUnknownError
from storage.facade import ObjectEntry, ObjectKind, Objects, ObjectStat, PutReceipt, Unfinished
from storage.ids import Address
from storage.manifests.capability import parse_address, parse_cap, text_of_address, text_of_cap
from swarmnode.api.schema.objects import CostLine, ObjectDetail, ObjectLine, PutReply, ShardLine

STATS_AT_ONCE: Final = 16
STATS_S: Final = 5.0
"""A list shows what is known by then: a machine that is silent must not hold it up for ever."""


def day_and_time(wall_ms: int) -> str:
    """For a sentence."""
    return datetime.fromtimestamp(wall_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def receipt_json(receipt: PutReceipt) -> PutReply:
    """A put receipt as the API tells it."""
    return PutReply(
        cap=text_of_cap(receipt.cap),
        address=text_of_address(receipt.cap.address),
        size=receipt.size,
        k=receipt.k,
        n=receipt.n,
        holders=receipt.holders,
        survives=receipt.survives,
        one_site=receipt.one_site,
        seconds=receipt.seconds,
        one_person=receipt.one_person,
    )


def detail_json(stat: ObjectStat) -> ObjectDetail:
    """An object's state as the API tells it."""
    return ObjectDetail(
        address=text_of_address(stat.address),
        name=stat.name,
        size=stat.size,
        k=stat.k,
        n=stat.n,
        segments=stat.segments,
        shards_live=stat.shards_live,
        survives=stat.survives,
        expires_ms=stat.expires_ms,
        shards=tuple(ShardLine(*line) for line in stat.holders),
        health=stat.health.value,
    )


def address_of(text: str) -> Address:
    """Accepts an address or a whole capability."""
    return parse_cap(text).address if text.startswith("swarm:") else parse_address(text)


def line_json(entry: ObjectEntry, survives: str = "") -> ObjectLine:
    """An object in a list."""
    return ObjectLine(
        cap=text_of_cap(entry.cap),
        address=text_of_address(entry.cap.address),
        name=entry.name,
        size=entry.size,
        put_ms=entry.put_ms,
        kind=entry.mark.kind,
        task=entry.mark.task,
        survives="" if entry.removed_ms else survives,
        until_ms=entry.until_ms,
        stored=entry.stored,
        removed_ms=entry.removed_ms,
        removed_why=entry.removed_why,
    )


async def is_whole(objects: Objects, address: Address) -> bool:
    """Whether an object can be read now."""
    try:
        stat = await objects.stat(address)
    except ObjectUnknownError:
        return False
    return stat.shards_live >= stat.k


async def survivals(objects: Objects, addresses: Sequence[Address]) -> dict[Address, str]:
    """What each survives now; `unknown` for those that nobody answered for in time."""
    lasting, limiter = dict.fromkeys(addresses, "unknown"), trio.CapacityLimiter(STATS_AT_ONCE)

    async def look(address: Address) -> None:
        async with limiter:
            try:
                lasting[address] = (await objects.stat(address, ask=False)).survives
            except ObjectUnknownError:
                lasting[address] = "cannot be found now"

    with trio.move_on_after(STATS_S):
        async with trio.open_nursery() as nursery:
            for address in addresses:
                nursery.start_soon(look, address)
    return lasting


def _stored_in(packs: dict[Address, ObjectEntry], needs: Sequence[Address]) -> int:
    """Of those that nobody was charged for yet: the oldest folder that needs a pack has it."""
    return sum(pack.stored for need in needs if (pack := packs.pop(need, None)) is not None)


def costs_of(entries: Sequence[ObjectEntry], puts: Sequence[Unfinished]) -> list[CostLine]:
    """One line for each task and kind, the dearest first.

    A pack counts once, with the oldest folder that needs it; of none: its folder is under way.
    """
    sums: dict[tuple[str, str], list[int]] = {}
    packs = {entry.cap.address: entry for entry in entries if entry.mark.kind == ObjectKind.PACK}
    told = list[tuple[str, str, int, int]]()
    for entry in entries:
        if entry.mark.kind != ObjectKind.PACK:
            stored = (entry.stored or entry.size) + _stored_in(packs, entry.needs)
            told.append((entry.mark.task, entry.mark.kind, entry.size, stored))
    told += [("", "unfinished", pack.size, pack.stored) for pack in packs.values()]
    told += [(put.mark.task, "unfinished", put.size, put.size) for put in puts]
    for task, kind, size, stored in told:
        total = sums.setdefault((task, kind), [0, 0, 0])
        for at, more in enumerate((1, size, stored)):
            total[at] += more
    lines = [CostLine(task, kind, *total) for (task, kind), total in sums.items()]
    return sorted(lines, key=lambda line: (-line.stored, line.task, line.kind))
