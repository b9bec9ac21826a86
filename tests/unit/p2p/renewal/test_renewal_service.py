"""Renewal on virtual time: months pass, and nobody has to do anything."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio
from msgspec.structs import replace

from p2p.host.admission.book import AdmissionBook
from p2p.identity.admission import Admitted
from p2p.identity.records import MembershipToken
from p2p.identity.register.register import Register
from p2p.ids import PeerId
from p2p.limits import CLOCK_SKEW_MAX_MS
from p2p.register.service import RegisterService
from p2p.renewal.service import RenewalService
from testnet.sim.peers import Peers, rpc_peers
from testnet.sim.seeded import simulated, until
from tests.register_lab import ANCHOR, ANN, BOB, CAROL, DAVE, NOW, ROOT, Person
from tests.unit.p2p.register.test_register_service import MemoryStore
from tests.unit.swarmnode.test_roster import PapersOf

DAY_S = 86_400


@dataclass
class Lab:
    peers: Peers
    people: dict[str, Person]
    registers: dict[str, RegisterService]
    renewals: dict[str, RenewalService]

    def wall_ms(self) -> int:
        return NOW + int(trio.current_time() * 1000)


class Wound(PapersOf):
    """Papers whose clock is the test's."""

    def replace(self, token: MembershipToken) -> None:
        self.now_ms = NOW + int(trio.current_time() * 1000)
        super().replace(token)


@asynccontextmanager
async def lab(*people: Person) -> AsyncIterator[Lab]:
    copies = [Person(one.name, one.keys, one.token) for one in people]
    names = [PeerId(one.who.peer) for one in copies]
    async with rpc_peers(names) as peers, trio.open_nursery() as nursery:
        made = Lab(peers, {one.name: one for one in copies}, {}, {})
        for one, peer in zip(copies, names, strict=True):
            book = AdmissionBook(Register(ANCHOR, ROOT))
            for other in copies:
                book.enter(other.who)
            host = peers.hosts[peer]
            made.registers[one.name] = RegisterService(
                book, peers[peer], host, MemoryStore(), rng=random.Random(1), wall_ms=made.wall_ms
            )
            made.renewals[one.name] = RenewalService(
                Wound(one),
                book,
                peers[peer],
                host,
                one.keys.machine,
                wall_ms=made.wall_ms,
                entropy=random.Random(peer).randbytes,
            )
            await nursery.start(made.renewals[one.name].run)
        for low in names:
            for high in names:
                if low < high:
                    await peers.hosts[low].dial(f"/memory/{high}")
        yield made
        nursery.cancel_scope.cancel()


@simulated
async def test_two_years_pass_and_everybody_is_still_a_member() -> None:
    async with lab(ANN, BOB, CAROL) as one:
        await trio.sleep(730 * DAY_S)
        for person in one.people.values():
            assert person.who.expires_ms > one.wall_ms() + 90 * DAY_S * 1000
        at_ann = one.registers["physics-founder"].book.admitted(BOB.who.peer)
        assert at_ann is not None  # was shown the new certificates on the old connection
        assert at_ann.expires_ms == one.people["bob"].who.expires_ms


@simulated
async def test_without_a_key_that_may_sign_the_trouble_is_told_and_the_key_mends_it() -> None:
    async with lab(ANN, BOB, CAROL) as one:
        ann = one.peers.hosts[PeerId(ANN.who.peer)]
        for other in (BOB, CAROL):
            await ann.disconnect(PeerId(other.who.peer), "she is away")
        await trio.sleep(200 * DAY_S)
        assert one.people["carol"].who.expires_ms == CAROL.who.expires_ms
        assert "holds a key that may sign" in one.renewals["carol"].trouble
        for other in (BOB, CAROL):
            await ann.dial(f"/memory/{other.who.peer}")
        await until(
            lambda: one.people["carol"].who.expires_ms > CAROL.who.expires_ms,
            within_s=2 * 3600,
            look_s=60,
        )
        assert one.renewals["carol"].trouble == ""


@simulated
async def test_whoever_was_removed_is_not_renewed() -> None:
    async with lab(ANN, DAVE) as one:
        removal = ANN.removes(DAVE, signer=ANN.keys.lab)
        one.registers["physics-founder"].register.take(removal, NOW)
        await trio.sleep(300 * DAY_S)
        assert one.people["dave"].who.expires_ms == DAVE.who.expires_ms


@simulated
async def test_nobody_signs_while_their_clock_is_not_that_of_the_others() -> None:
    async with lab(ANN, BOB, DAVE) as one:
        book = one.registers["physics-founder"].book
        for person in (BOB, DAVE):
            ahead = -40 * DAY_S * 1000
            book.enter(_skewed(person, ahead))
        await trio.sleep(200 * DAY_S)
        assert one.people["bob"].who.expires_ms == BOB.who.expires_ms
        for person in (BOB, DAVE):
            book.enter(_skewed(person, CLOCK_SKEW_MAX_MS))
        await trio.sleep(DAY_S)
        assert one.people["bob"].who.expires_ms > BOB.who.expires_ms


def _skewed(person: Person, skew_ms: int) -> Admitted:
    return replace(person.who, skew_ms=skew_ms)
