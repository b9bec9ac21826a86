"""Dials that several wait for."""

from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from p2p.errors import DialError
from p2p.host.peers.address_book import AddressBook
from p2p.host.peers.open_dials import Dials
from p2p.host.peers.peer import no_place
from p2p.ids import PeerId

BOB = PeerId("12D3KooWBob")


async def test_who_knows_no_address_shares_the_end_of_a_dial_that_another_began(
    autojump_clock: MockClock,
) -> None:
    tried: list[int] = []

    async def connect(peer: PeerId, addresses: Sequence[object]) -> None:
        tried.append(len(addresses))
        await trio.sleep(1.0)
        raise DialError(str(addresses[0]), "port", "nobody is there")

    book = AddressBook()
    book.learn(BOB, ["/ip4/127.0.0.1/tcp/1"])
    dials = Dials(book, 10.0, connect, lambda _: False, lambda _: True, lambda _: None)
    async with trio.open_nursery() as nursery:
        dials.nursery = nursery
        dials.start(BOB, book.of(BOB))
        with pytest.raises(DialError, match="nobody is there"):
            await dials.reach(BOB, [])
    assert tried == [1]


async def test_who_has_no_place_does_not_dial_and_holds_nothing_against_the_peer(
    autojump_clock: MockClock,
) -> None:
    tried: list[PeerId] = []
    full = [True]

    async def connect(peer: PeerId, addresses: Sequence[object]) -> None:
        tried.append(peer)
        await trio.lowlevel.checkpoint()

    book = AddressBook()
    book.learn(BOB, ["/ip4/127.0.0.1/tcp/1"])
    dials = Dials(book, 10.0, connect, lambda _: False, lambda _: not full[0], lambda _: None)
    async with trio.open_nursery() as nursery:
        dials.nursery = nursery
        assert "as many connections as it can keep" in str(dials.why_not(BOB))
        with pytest.raises(DialError, match="this machine has as many connections") as caught:
            await dials.reach(BOB, book.of(BOB))
        assert caught.value.cause == "full"
        full[0] = False
        assert dials.why_not(BOB) is None
        await dials.reach(BOB, book.of(BOB))
    assert tried == [BOB]


async def test_who_is_full_by_the_time_the_peer_answers_holds_nothing_against_it(
    autojump_clock: MockClock,
) -> None:
    async def connect(peer: PeerId, addresses: Sequence[object]) -> None:
        await trio.sleep(1.0)
        raise no_place(str(addresses[0]))

    book = AddressBook()
    book.learn(BOB, ["/ip4/127.0.0.1/tcp/1"])
    dials = Dials(book, 10.0, connect, lambda _: False, lambda _: True, lambda _: None)
    async with trio.open_nursery() as nursery:
        dials.nursery = nursery
        with pytest.raises(DialError, match="this machine"):
            await dials.reach(BOB, book.of(BOB))
        assert dials.why_not(BOB) is None
