"""Two ways to a peer: its addresses, and a relay beside them once they hang or have failed."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from p2p.errors import CAUSE_FULL, CAUSE_RELAY, DialError
from p2p.host.addresses import Address
from p2p.host.peers.config import RelayConfig
from p2p.host.peers.whereabouts import together
from p2p.host.relay.asking import Asking
from p2p.host.relay.limits import RELAYS_KNOWN_MAX
from p2p.host.relay.rules import circuit_text
from p2p.ids import PeerId

ANSWERED: Final = ("token", "clock", CAUSE_FULL)
"""Causes for which another way would do no better: the peer, or we, said no."""

_SHARE_OF_ONE: Final = 0.4
"""Of a dial's time, what one relay has at most."""

Direct = Callable[[PeerId, Sequence[Address]], Awaitable[None]]
"""Dials a peer at addresses until it is up. DialError."""
ByRelay = Callable[[PeerId, PeerId], Awaitable[None]]
"""Dials a peer (second) by a relay (first) until it is up. DialError."""


class TwoWays:
    """Dials peers directly, by relay, or by both in a race."""

    def __init__(
        self,
        asking: Asking,
        config: RelayConfig,
        direct: Direct,
        by_relay: ByRelay,
        within_s: float,
    ) -> None:
        """A dial takes `within_s` at most, and then says what happened until then."""
        self._asking, self._config, self._within_s = asking, config, within_s
        self._direct, self._by_relay = direct, by_relay
        self._unreached: dict[PeerId, None] = {}
        """Peers whose addresses failed last, the latest at the end; at most RELAYS_KNOWN_MAX."""

    async def reach(self, peer: PeerId, addresses: Sequence[Address]) -> None:
        """Return once the peer is up; DialError tells what happened on each way.

        The relay is asked at once where no address is known or those failed last time.
        """
        race = _RaceOfWays()
        with trio.move_on_after(self._within_s):
            async with trio.open_nursery() as nursery:
                await self._run_both(race, nursery, peer, addresses)
        if not race.is_won:
            late = f"no connection within {self._within_s:g} s"
            raise race.error(peer, addresses, late)

    async def _run_both(
        self, race: "_RaceOfWays", nursery: trio.Nursery, peer: PeerId, addresses: Sequence[Address]
    ) -> None:
        if addresses:
            nursery.start_soon(self._run_direct, race, nursery, peer, addresses)
        is_hopeless = not addresses or peer in self._unreached
        with trio.move_on_after(0 if is_hopeless else self._config.relayed_after_s):
            await race.direct_failed.wait()
        if not race.is_won and not race.is_refused:
            await self._run_relays(race, nursery, peer)

    def direct_failed(self, peer: PeerId) -> None:
        """Its addresses do not answer: next time a relay is asked at once."""
        self._unreached.pop(peer, None)
        self._unreached[peer] = None
        if len(self._unreached) > RELAYS_KNOWN_MAX:
            del self._unreached[next(iter(self._unreached))]

    def direct_works(self, peer: PeerId) -> None:
        """Its addresses are worth waiting for."""
        self._unreached.pop(peer, None)

    async def _run_direct(
        self, race: "_RaceOfWays", nursery: trio.Nursery, peer: PeerId, addresses: Sequence[Address]
    ) -> None:
        try:
            await self._direct(peer, addresses)
        except DialError as exc:
            race.failed_directly(exc)
            if race.is_refused:
                nursery.cancel_scope.cancel()
            else:
                self.direct_failed(peer)
        else:
            self.direct_works(peer)
            race.is_won = True
            nursery.cancel_scope.cancel()

    async def _run_relays(self, race: "_RaceOfWays", nursery: trio.Nursery, peer: PeerId) -> None:
        for relay in self._asking.relays_to(peer)[: self._config.tries_max]:
            failed = await self._run_relay(relay, peer)
            if failed is None:
                self.direct_failed(peer)  # or hung for longer than that took
                race.is_won = True
                nursery.cancel_scope.cancel()
                return
            race.errors.append(failed)

    async def _run_relay(self, relay: PeerId, peer: PeerId) -> DialError | None:
        """None once the peer is up. One that agrees and then swallows bytes leaves time for more:
        the next dial asks it first again.
        """
        within_s = _SHARE_OF_ONE * self._within_s
        with trio.move_on_after(within_s):
            try:
                await self._by_relay(relay, peer)
            except DialError as exc:
                return exc
            else:
                return None
        late = f"no connection by this relay within {within_s:g} s"
        return DialError(circuit_text(relay, peer), CAUSE_RELAY, late)


class _RaceOfWays:
    """One dial: what came of the addresses and of the relays until now."""

    def __init__(self) -> None:
        self.is_won = self.is_refused = False
        self.errors: list[DialError] = []
        """In the order in which ways failed."""
        self.direct_failed = trio.Event()

    def failed_directly(self, error: DialError) -> None:
        self.errors.insert(0, error)
        self.is_refused = error.cause in ANSWERED
        self.direct_failed.set()

    def error(self, peer: PeerId, addresses: Sequence[Address], late: str) -> DialError:
        """What to say when no way led there; of the addresses first."""
        if addresses and not self.direct_failed.is_set():
            self.errors.insert(0, DialError(str(addresses[0]), "port", late))
        if not self.errors:
            where = circuit_text(PeerId("any"), peer)
            return DialError(where, CAUSE_RELAY, "no address of it is known, and no relay")
        return together(self.errors[0], self.errors)
