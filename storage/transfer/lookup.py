"""Manifests and holder records: found by address anywhere, published where they will be found.

A manifest is kept by every holder of the object and by its homes: the first few lending machines
in rendezvous order of its address.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import TypeAlias, TypeVar

import msgspec
import trio

from p2p.effects import Rng
from p2p.ids import PeerId
from storage.errors import (
    HolderFailedError,
    ManifestError,
    ObjectRemovedError,
    ObjectUnknownError,
)
from storage.holder.leases.book import LeaseBook
from storage.ids import Address, ShardRoot
from storage.limits import ASKED_AT_ONCE, ASKED_MAX, MANIFESTS_KEPT
from storage.manifests.capability import text_of_address
from storage.manifests.manifest import Manifest, SegmentRef, Written, read_manifest, read_page
from storage.messages import REMOVED, LeaseTerms
from storage.placement.pool import Pool
from storage.placement.rendezvous import SMALL_COPIES_MAX, peers_in_order
from storage.records.holders import HolderBook
from storage.records.holding import Holding, fits, latest, newest, prevailing, replaces
from storage.records.wider import Placed, placed, read_more
from storage.transfer.client import Transfer
from storage.transfer.race import Attempt, any_of

ResultT = TypeVar("ResultT")
Told: TypeAlias = tuple[PeerId, Holding]
"""Who tells a record, and the record."""
Key = TypeVar("Key")
Value = TypeVar("Value")

ASK_MORE_S = 0.25
"""A manifest is one small answer: another peer is asked when none came for this long."""

ASKED_BY_DICE = 2
"""Of those who know a record: it was told to all of them, so nearly all have the newest."""

LATE_S = 2.0
"""Once most have answered, the others get this much longer."""

PUBLISHED_LATE_S = 1.0
"""When somebody waits for a put: those who are late are told again in the background."""


class Catalog:
    """What objects are made of and who holds them."""

    def __init__(
        self, transfer: Transfer, leases: LeaseBook, holders: HolderBook, pool: Pool
    ) -> None:
        self._transfer = transfer
        self._leases = leases
        self._holders = holders
        self._pool = pool
        self._manifests: dict[Address, Manifest] = {}
        """The newest that were verified; of this and the next three MANIFESTS_KEPT each."""
        self._pages: dict[Address, tuple[SegmentRef, ...]] = {}
        """By the address of the page itself, verified."""
        self._more: dict[tuple[Address, int, int], list[tuple[ShardRoot, ...]]] = {}
        """Roots by their address, and for how many segments and added shards they were checked: any
        record can name them."""
        self._holdings: dict[tuple[Address, int], Holding] = {}
        """By object and page: the record that was last found to count, verified."""

    # -- reading

    def homes(self, address: Address) -> list[PeerId]:
        """Where manifest and records of an object belong besides its holders."""
        lending = [candidate.peer for candidate in self._pool.usable()]
        return peers_in_order(address, lending)[:SMALL_COPIES_MAX]

    async def manifest(self, address: Address) -> Manifest:
        """The verified manifest. Raises ObjectUnknownError when nobody alive has it."""
        known = self._manifests.get(address)
        if known is None:
            data = await self._find(address, address, partial(read_manifest, address))
            known = read_manifest(address, data)
            _remember(self._manifests, address, known)
        return known

    async def segments(
        self, address: Address, manifest: Manifest, page: int
    ) -> tuple[SegmentRef, ...]:
        """The verified segments of one page. Raises ObjectUnknownError, ManifestError."""
        if not 0 <= page < manifest.page_count:
            raise ManifestError(f"page {page} of {manifest.page_count}")
        if not manifest.is_paged:
            return manifest.segments
        part = manifest.page_addresses()[page]
        known = self._pages.get(part)
        if known is None:
            data = await self._find(address, part, partial(read_page, manifest, page))
            known = read_page(manifest, page, data)
            _remember(self._pages, part, known)
        return known

    async def holding(
        self, address: Address, manifest: Manifest, page: int, *, is_fresh: bool = False
    ) -> Holding | None:
        """The newest holder record we know, or with `is_fresh` can find; None without any."""
        known = await self._known(address, manifest, page)
        if known is not None and not is_fresh:
            return known
        told = await self._records(address, manifest, page)
        best = newest(self._credible(manifest, address, page, told))
        if best is not None:
            self._remember_holding(best)
        return best

    async def placed(
        self, address: Address, manifest: Manifest, page: int, holding: Holding | None
    ) -> list[Placed]:
        """The segments of a page with the holders of a record.

        Added shards whose roots nobody can tell now are left out. Raises as `segments`.
        """
        refs = await self.segments(address, manifest, page)
        if holding is None or manifest.k == 1 or not holding.more:
            return placed(manifest, refs, holding)
        width = len(holding.rows[0]) if holding.rows else 0
        key = (holding.more, len(holding.rows), width - manifest.n)
        more = self._more.get(key)
        if more is None:
            check = partial(read_more, holding, manifest.n)
            try:
                data = await self._find(address, holding.more, check)
            except ObjectUnknownError:
                return placed(manifest, refs, holding)
            more = check(data)
            _remember(self._more, key, more)
        return placed(manifest, refs, holding, more)

    async def agreed(
        self, address: Address, manifest: Manifest, page: int, dice: Rng | None = None
    ) -> Holding | None:
        """The holder record that homes and holders agree on; None without any.

        That is the newest; of several written at once, on two sides of a partition, the one that
        most of all they name keep. With `dice` only a few are asked, others each time, unless
        these disagree.
        """
        told = await self._records(address, manifest, page, dice=dice)
        records = self._credible(manifest, address, page, told)
        is_doubted = len(records) < len(told)
        if is_doubted or len({record.signer for record in latest(records)}) > 1:
            named = [peer for _, record in told for peer in record.peers()]
            told = await self._records(address, manifest, page, named)
            records = self._credible(manifest, address, page, told)
        best = prevailing(records)
        if best is not None:
            _remember(self._holdings, (address, page), best)
        return best

    # -- publishing

    async def publish(
        self,
        written: Written,
        terms: LeaseTerms,
        holdings: Sequence[Holding],
        *,
        only: Sequence[PeerId] | None = None,
        without: Collection[PeerId] = (),
    ) -> tuple[list[PeerId], list[PeerId]]:
        """Store manifest, pages and records at all holders and homes: (who has it, who has not).

        The manifest goes last, so that whoever has it has its pages, and turns the holds there
        into leases. `only` names who gets it instead, `without` who failed just now and is not
        asked. Once most have it the others get little longer: give it to those again.
        """
        address = written.address
        held = [peer for holding in holdings for peer in holding.peers()]
        targets = list(dict.fromkeys([*held, *self.homes(address)] if only is None else only))
        hold = msgspec.structs.replace(terms, is_hold=True)

        async def tell(peer: PeerId) -> PeerId:
            for (part, data), holding in zip(written.pages, holdings, strict=False):
                await self._transfer.put_manifest(peer, address, part, data, hold, [holding])
            first = holdings[:1] if not written.pages else ()
            await self._transfer.put_manifest(peer, address, address, written.data, terms, first)
            return peer

        asked = [peer for peer in targets if peer not in without]
        told = await self._ask_all(asked, tell, PUBLISHED_LATE_S)
        _remember(self._manifests, address, written.manifest)
        for holding in holdings:
            self._remember_holding(holding)
        return told, [peer for peer in targets if peer not in told]

    async def publish_part(
        self, address: Address, part: Address, data: bytes, terms: LeaseTerms, at: Sequence[PeerId]
    ) -> None:
        """Have what a new record names kept by those who keep the record, before it is told.

        Raises ObjectUnknownError when most of them do not take it.
        """
        targets = list(dict.fromkeys([self._pool.me, *at, *self.homes(address)]))

        async def tell(peer: PeerId) -> PeerId:
            await self._transfer.put_manifest(peer, address, part, data, terms)
            return peer

        told = await self._ask_all(targets, tell)
        if 2 * len(told) <= len(targets):
            raise ObjectUnknownError(f"{len(told)} of {len(targets)} machines keep a new record")

    async def publish_holding(self, holding: Holding) -> int:
        """Tell all holders and homes of a newer record, ourselves first; how many keep it now.

        Whoever has given the object up meanwhile has no say in it any more: then nobody is told.
        """
        if self._leases.manifest(holding.address) is None:
            return 0
        await self._holders.accept(holding)
        self._remember_holding(holding)
        targets = dict.fromkeys([*holding.peers(), *self.homes(holding.address)])
        others = [peer for peer in targets if peer != self._pool.me]
        kept = await self._ask_all(others, lambda p: self._transfer.put_holders(p, holding))
        return 1 + sum(record.sequence >= holding.sequence for record in kept)

    def forget(self, address: Address) -> None:
        """Remember nothing of an object that was given up."""
        self._manifests.pop(address, None)
        for key in [key for key in self._holdings if key[0] == address]:
            del self._holdings[key]

    # -- inside

    async def _known(self, address: Address, manifest: Manifest, page: int) -> Holding | None:
        segments = len(await self.segments(address, manifest, page))
        here = [self._holders.get(address, page), self._holdings.get((address, page))]
        best = newest([holding for holding in here if holding is not None])
        return best if best is not None and fits(best, manifest, segments) else None

    async def _records(
        self,
        address: Address,
        manifest: Manifest,
        page: int,
        named: Sequence[PeerId] = (),
        dice: Rng | None = None,
    ) -> list[Told]:
        """What we, homes, holders and `named` keep, with who tells it."""
        segments = len(await self.segments(address, manifest, page))
        known = await self._known(address, manifest, page)
        asked = dict.fromkeys([*self.homes(address), *(known.peers() if known else ()), *named])
        others = [peer for peer in asked if peer != self._pool.me and self._pool.is_alive(peer)]
        if dice is not None:
            others = dice.sample(others, min(ASKED_BY_DICE, len(others)))

        async def ask(peer: PeerId) -> tuple[PeerId, Holding | None]:
            return peer, await self._transfer.get_holders(peer, address, page)

        answers = await self._ask_all(others[:ASKED_MAX], ask)
        fitting = [(p, h) for p, h in answers if h is not None and fits(h, manifest, segments)]
        return fitting if known is None else [*fitting, (self._pool.me, known)]

    def _credible(
        self,
        manifest: Manifest,
        address: Address,
        page: int,
        told: Sequence[Told],
    ) -> list[Holding]:
        """Those that may be true: one person alone, who had no say before, makes no record up."""
        here = self._holders.get(address, page)
        trusted = (manifest.owner, self._pool.person(self._pool.me))
        voices: dict[bytes, set[str]] = {}
        for peer, record in told:
            heard = voices.setdefault(record.sealed.signature, set())
            if peer != self._pool.me or record == here:  # else we only have it from somebody
                heard.add(self._pool.person(peer))
        sure = [
            record
            for _, record in told
            if len(voices[record.sealed.signature]) > 1
            or self._pool.person(record.signer) in trusted
            or (here is not None and (record.sequence <= here.sequence or replaces(record, here)))
        ]
        return sure if sure or here is not None else [record for _, record in told]

    def _remember_holding(self, holding: Holding) -> None:
        """The highest sequence counts where nothing is kept: shards are verified by root."""
        key = (holding.address, holding.page)
        known = self._holdings.get(key)
        if known is None or newest([known, holding]) is holding:
            _remember(self._holdings, key, holding)

    async def _find(
        self, address: Address, part: Address, check: Callable[[bytes], object]
    ) -> bytes:
        here = self._leases.manifest(part)
        if here is not None:
            return here
        order = dict.fromkeys([*self.homes(address), *peers_in_order(address, self._pool.alive())])
        others = [peer for peer in order if peer != self._pool.me][:ASKED_MAX]
        attempts = [Attempt(0, partial(self._get, peer, part, check)) for peer in others]
        answers = await any_of(1, attempts, lambda: ASK_MORE_S)
        if not answers.results:
            await self._refuse_removed(address, answers.failures)
            raise ObjectUnknownError(
                f"none of {len(others)} machines that were asked has {text_of_address(part)}: "
                "check the address, or wait until its holders are back"
            )
        return answers.results[0]

    async def _refuse_removed(
        self, address: Address, failures: Sequence[HolderFailedError]
    ) -> None:
        """Raises ObjectRemovedError where somebody says so: we, or one that was asked."""
        heard = [*failures]
        try:
            await self._transfer.get_manifest(self._pool.me, address)
        except HolderFailedError as own:
            heard.insert(0, own)
        for failure in heard:
            if failure.code == REMOVED:
                words = "".join(c if c.isprintable() else "?" for c in failure.detail)
                said = "" if failure.holder == self._pool.me else f" (as {failure.holder} was told)"
                raise ObjectRemovedError(f"{words}{said}")

    async def refuse_removed(self, address: Address) -> None:
        """Of an object that cannot be read. Raises ObjectRemovedError if it was removed."""
        known = self._manifests.pop(address, None)
        try:
            await self.manifest(address)
        except ObjectRemovedError:
            raise
        except ObjectUnknownError:
            if known is not None:
                _remember(self._manifests, address, known)

    async def _get(self, peer: PeerId, part: Address, check: Callable[[bytes], object]) -> bytes:
        data, holdings = await self._transfer.get_manifest(peer, part)
        try:
            check(data)
        except ManifestError as error:
            raise self._transfer.lied(peer, str(error)) from error
        for holding in holdings:
            if holding.address == part and self._holders.get(part) is None:
                self._remember_holding(holding)
        return data

    async def _ask_all(
        self,
        peers: Sequence[PeerId],
        ask: Callable[[PeerId], Awaitable[ResultT]],
        late_s: float = LATE_S,
    ) -> list[ResultT]:
        """The answers of all who answered, in the order asked; most must, the rest has a moment."""
        answers: dict[PeerId, ResultT] = {}
        limiter = trio.CapacityLimiter(ASKED_AT_ONCE)
        most, done = len(peers) // 2 + 1, trio.Event()

        async def hear(peer: PeerId) -> None:
            async with limiter:
                try:
                    answers[peer] = await ask(peer)
                except HolderFailedError:
                    return  # the caller counts those who answered
            if len(answers) >= most:
                done.set()

        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as asking:
                nursery.start_soon(_stop_later, asking.cancel_scope, done, late_s)
                for peer in peers:
                    asking.start_soon(hear, peer)
            nursery.cancel_scope.cancel()
        return [answers[peer] for peer in peers if peer in answers]


async def _stop_later(scope: trio.CancelScope, done: trio.Event, late_s: float) -> None:
    await done.wait()
    await trio.sleep(late_s)
    scope.cancel()


def _remember(kept: dict[Key, Value], key: Key, value: Value) -> None:
    kept.pop(key, None)
    kept[key] = value
    while len(kept) > MANIFESTS_KEPT:
        del kept[next(iter(kept))]
