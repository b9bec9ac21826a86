"""The register on virtual time: kept, spread to everybody, and acted upon."""

import random
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from p2p.host.admission.book import AdmissionBook
from p2p.identity.register.register import Register
from p2p.ids import PeerId
from p2p.limits import CLOCK_SKEW_MAX_MS
from p2p.register.limits import COMPARED_BURST, RECONCILE_S
from p2p.register.messages import Held, RegisterKeys
from p2p.register.service import RegisterService
from p2p.wire.envelope import Signed
from testnet.sim.peers import Peers, rpc_peers
from testnet.sim.seeded import simulated, until
from tests.register_lab import ANCHOR, ANN, BOB, CAROL, DAVE, NOW, ROOT, let_in


@dataclass
class MemoryStore:
    """Entries that outlive a service; `is_full` makes it refuse."""

    kept: dict[bytes, Signed] = field(default_factory=dict)
    is_full: bool = False

    def load(self) -> list[Signed]:
        return list(self.kept.values())

    async def keep(self, entries: Mapping[bytes, Signed]) -> bool:
        await trio.lowlevel.checkpoint()
        if not self.is_full:
            self.kept.update(entries)
        return not self.is_full

    async def forget(self, keys: Iterable[bytes]) -> None:
        await trio.lowlevel.checkpoint()
        for key in keys:
            self.kept.pop(key, None)


@dataclass
class Lab:
    peers: Peers
    services: dict[str, RegisterService]
    stores: dict[str, MemoryStore]
    now_ms: int = NOW

    def knows(self, name: str) -> bool:
        return bool(self.services[name].register.removals.keys())

    def is_connected(self, one: str, other: str) -> bool:
        return self.peers.network.is_connected(PeerId(one), PeerId(other))


PEOPLE = {one.who.peer: one for one in (ANN, BOB, CAROL, DAVE)}
NAMES = tuple(PEOPLE)


@asynccontextmanager
async def lab(names: tuple[str, ...] = NAMES) -> AsyncIterator[Lab]:
    async with rpc_peers(names) as peers, trio.open_nursery() as nursery:
        made = Lab(peers, {}, {})
        for name in names:
            book = AdmissionBook(Register(ANCHOR, ROOT))
            for one in PEOPLE.values():
                book.enter(one.who)
            made.stores[name] = MemoryStore()
            made.services[name] = RegisterService(
                book,
                peers[name],
                peers.hosts[PeerId(name)],
                made.stores[name],
                rng=random.Random(name),
                wall_ms=lambda: made.now_ms,
            )
            await nursery.start(made.services[name].run)
        for name in names:
            for other in names:
                if name < other:
                    await peers.hosts[PeerId(name)].dial(f"/memory/{other}")
        yield made
        nursery.cancel_scope.cancel()


@simulated
async def test_a_removal_is_kept_before_it_is_told_and_ends_the_connections() -> None:
    async with lab() as one:
        told: list[Mapping[PeerId, str]] = []
        one.services[DAVE.who.peer].on_out(told.append)
        entry = await one.services[ANN.who.peer].add(ANN.removes(BOB, signer=ANN.keys.lab))
        assert entry is not None
        assert len(one.stores[ANN.who.peer].kept) == 1
        took_s = await until(
            lambda: (
                not any(
                    one.is_connected(name, gone.who.peer)
                    for name in (ANN.who.peer, DAVE.who.peer)
                    for gone in (BOB, CAROL)
                )
            ),
            within_s=5,
        )
        assert took_s < 2
        assert len(one.stores[DAVE.who.peer].kept) == 1
        assert sorted(told[-1]) == sorted((BOB.who.peer, CAROL.who.peer))
        assert "bob was removed by physics" in told[-1][BOB.who.peer]
        people = one.services[DAVE.who.peer].people_out()
        assert people == {BOB.who.person, CAROL.who.person}
        assert one.is_connected(ANN.who.peer, DAVE.who.peer)


@simulated
async def test_few_bytes_do_not_make_many_again_and_again() -> None:
    async with lab() as one:
        ann, eve = ANN.who.peer, DAVE.who.peer
        await one.services[ann].add(ANN.removes(BOB, signer=ANN.keys.lab))
        await trio.sleep(3)
        sent = one.peers.network.frames_delivered
        for _ in range(1000):
            one.peers[eve].cast(ann, RegisterKeys(b"", is_answer=True))
            one.peers[eve].cast(ann, Held(b"something else"))
        await trio.sleep(1)
        answers = one.peers.network.frames_delivered - sent - 2000
        assert answers <= 4 * COMPARED_BURST
        assert one.services[ann].talk.throttled >= 1900


@simulated
async def test_whoever_was_cut_off_hears_of_it_when_a_connection_comes_up() -> None:
    async with lab() as one:
        ann, dave = ANN.who.peer, DAVE.who.peer
        for other in NAMES:
            if other != dave:
                await one.peers.hosts[dave].disconnect(other, "cut")
        await one.services[ann].add(ANN.removes(CAROL, signer=ANN.keys.lab))
        await trio.sleep(1)
        assert not one.knows(dave)
        await one.peers.hosts[dave].dial(f"/memory/{BOB.who.peer}")
        await until(lambda: one.knows(dave), within_s=2)


@simulated
async def test_a_push_that_was_lost_is_mended_by_comparing() -> None:
    async with lab((ANN.who.peer, DAVE.who.peer)) as one:
        ann, dave = (one.services[name] for name in (ANN.who.peer, DAVE.who.peer))
        ann.register.listeners.clear()  # nothing is pushed
        ann.register.take(ANN.removes(CAROL, signer=ANN.keys.lab), NOW)
        await until(lambda: one.knows(DAVE.who.peer), within_s=3 * RECONCILE_S)
        assert len(dave.register.removals.keys()) == 1


@simulated
async def test_on_a_full_disk_a_removal_acts_at_once_and_is_written_later() -> None:
    async with lab() as one:
        store = one.stores[ANN.who.peer]
        store.is_full = True
        await one.services[ANN.who.peer].add(ANN.removes(CAROL, signer=ANN.keys.lab))
        await until(lambda: not one.is_connected(ANN.who.peer, CAROL.who.peer), within_s=5)
        assert store.kept == {}
        store.is_full = False
        await until(lambda: len(store.kept) == 1, within_s=3)


@simulated
async def test_a_certificate_that_ends_ends_the_connection() -> None:
    async with lab((ANN.who.peer, BOB.who.peer)) as one:
        assert one.is_connected(ANN.who.peer, BOB.who.peer)
        one.now_ms = BOB.who.expires_ms + CLOCK_SKEW_MAX_MS - 1
        await trio.sleep(3)
        assert one.is_connected(ANN.who.peer, BOB.who.peer)
        one.now_ms += 2
        await until(lambda: not one.is_connected(ANN.who.peer, BOB.who.peer), within_s=3)


@simulated
async def test_a_later_use_of_an_invite_is_out_once_both_sides_of_a_cut_have_met() -> None:
    here, there = ANN.invites("here", "there")
    async with lab((ANN.who.peer, DAVE.who.peer)) as one:
        ann, dave = (one.services[name] for name in (ANN.who.peer, DAVE.who.peer))
        dave.book.enter(there.who)
        ann.book.enter(here.who)
        await one.peers.hosts[ANN.who.peer].disconnect(DAVE.who.peer, "cut")
        ann.register.take(let_in(ANN, here, NOW - 10), NOW)
        dave.register.take(let_in(DAVE, there, NOW), NOW)
        await trio.sleep(2)
        assert not ann.out()
        assert not dave.out()
        await one.peers.hosts[DAVE.who.peer].dial(f"/memory/{ANN.who.peer}")
        await until(lambda: bool(dave.out()), within_s=5)
        assert list(dave.out()) == [there.who.peer]
        assert "was used before, by here" in dave.out()[there.who.peer]
        assert ann.out() == {}
        assert ann.register.why_out(there.who) is not None


@simulated
async def test_what_a_better_entry_replaced_while_the_disk_was_full_is_never_written() -> None:
    (newcomer,) = ANN.invites("newcomer")
    async with lab((ANN.who.peer,)) as one:
        store, register = one.stores[ANN.who.peer], one.services[ANN.who.peer].register
        store.is_full = True
        register.take(let_in(ANN, newcomer, NOW), NOW)
        await trio.sleep(2)
        register.take(let_in(DAVE, newcomer, NOW - 10), NOW)
        await trio.sleep(2)
        store.is_full = False
        await trio.sleep(3)
        assert list(store.kept) == register.uses.keys()
