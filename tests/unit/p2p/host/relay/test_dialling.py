"""Which relays a dial gets to, and when."""

from collections.abc import Sequence

import trio
from trio.testing import MockClock

from p2p.host.addresses import Address
from p2p.host.peers.config import RelayConfig
from p2p.host.relay.asking import Asking
from p2p.host.relay.dialling import TwoWays
from p2p.ids import PeerId

ME, BOB = PeerId("me"), PeerId("bob")
HOLE, GOOD = PeerId("hole"), PeerId("good")


class TwoRelays(Asking):
    """Knows two, the bad one first."""

    def relays_to(self, peer: PeerId) -> list[PeerId]:
        return [HOLE, GOOD]


async def test_a_relay_that_agrees_and_then_swallows_all_keeps_nobody_from_the_next_one(
    autojump_clock: MockClock,
) -> None:
    asked: list[PeerId] = []

    async def directly(_peer: PeerId, _addresses: Sequence[Address]) -> None:
        await trio.sleep_forever()

    async def by_relay(relay: PeerId, _peer: PeerId) -> None:
        asked.append(relay)
        if relay == HOLE:  # the handshake came through at its last moment, nothing after it
            await trio.sleep(20.0)

    config = RelayConfig()
    asking = TwoRelays(ME, "/x", config, lambda _peer: None, list)
    await TwoWays(asking, config, directly, by_relay, 9.25).reach(BOB, ())
    assert asked == [HOLE, GOOD]
