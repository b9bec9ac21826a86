"""Dials that several wait for."""

from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from p2p.errors import DialError
from p2p.host.peers.address_book import AddressBook
from p2p.host.peers.open_dials import Dials
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
    dials = Dials(book, 10.0, connect, lambda _: False, lambda _: None)
    async with trio.open_nursery() as nursery:
        dials.nursery = nursery
        dials.start(BOB, book.of(BOB))
        with pytest.raises(DialError, match="nobody is there"):
            await dials.reach(BOB, [])
    assert tried == [1]
