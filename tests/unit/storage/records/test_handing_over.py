"""Names on their way to new holders, past members that do not answer."""

from collections import Counter
from dataclasses import dataclass, field

import trio

from p2p.errors import CallTimeoutError
from p2p.ids import NetworkId, PeerId
from p2p.wire.codec import Message
from p2p.wire.envelope import Signed
from storage.records.names.core import NamePool
from storage.records.names.handing_over import AT_ONCE, NameHandOver
from storage.records.names.messages import NAME_DOMAIN, Ballot, NameHeld, NameState
from testnet.sim.seeded import simulated

PEERS = tuple(PeerId(f"peer{number}") for number in range(7))
ME, SILENT, DEAD = PEERS[0], PEERS[1], PEERS[2]
STATE = NameState(None, Ballot(0, 1, ME, 1), Signed(1, NetworkId("n"), NAME_DOMAIN, ME, 1, 0, b""))
NAMES = [(f"{number:032d}".encode(), STATE) for number in range(300)]
OLD, NEW = NamePool(PEERS[:3]), NamePool(PEERS, frozenset({DEAD}))


@dataclass
class Asker:
    """Members of whom one is called alive and answers nothing."""

    now: NamePool = NEW
    asked: Counter[PeerId] = field(default_factory=Counter)

    def look(self) -> NamePool:
        return self.now

    async def tell_one(self, peer: PeerId, key: bytes, request: Message) -> NameHeld:
        self.asked[peer] += 1
        await trio.sleep(3.0 if peer == SILENT else 0.02)
        if peer == SILENT:
            raise CallTimeoutError(peer, "NameAccept", 3.0)
        return NameHeld(True, NameState())


def page(after: bytes | None) -> list[tuple[bytes, NameState]]:
    return [one for one in NAMES if after is None or one[0] > after][:100]


@simulated
async def test_one_that_does_not_answer_holds_up_nobody_and_is_asked_no_more() -> None:
    asker = Asker()
    work = NameHandOver(ME, asker, page, [OLD], NEW, None)
    began_s = trio.current_time()
    assert await work.run() == {SILENT, DEAD}
    assert trio.current_time() - began_s < 5
    assert asker.asked[SILENT] <= AT_ONCE
    assert asker.asked[DEAD] == 0
    others = set(PEERS) - {ME, SILENT, DEAD}
    assert all(asker.asked[peer] == len(NAMES) for peer in others)
    assert work.told == len(others) * len(NAMES)


@simulated
async def test_only_those_who_were_not_told_are_told_again() -> None:
    asker = Asker()
    work = NameHandOver(ME, asker, page, [OLD], NEW, frozenset({PEERS[5]}))
    assert await work.run() == frozenset()
    assert asker.asked == {PEERS[5]: len(NAMES)}


@simulated
async def test_it_ends_when_the_members_have_changed_again() -> None:
    asker = Asker()
    work = NameHandOver(ME, asker, page, [OLD], NEW, None)
    asker.now = NamePool(PEERS[:6], frozenset({DEAD}))
    assert await work.run() == set(PEERS) - {ME}
    assert not asker.asked
