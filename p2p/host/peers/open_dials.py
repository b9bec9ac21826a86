"""Dials in progress: at most one per peer, shared by everybody who waits for that peer.

A dial lives in the host's nursery, not with its callers: one that gives up waiting leaves it to
the others. A dial that failed is not repeated before its pause is over (`AddressBook`). Who has no
place for one more peer does not dial, and what fails for that is not held against the peer.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
import trio

from p2p.errors import CAUSE_FULL, DialError
from p2p.host.addresses import Address
from p2p.host.peers.address_book import AddressBook
from p2p.host.peers.peer import NoPlaceError, no_place
from p2p.ids import PeerId

_AT_ONCE: Final = 32
"""Dials under way at once: each is a dozen small messages and a signature."""


class Dial(msgspec.Struct, eq=False):
    """One dial; `error` is set by the time it is done, if it failed."""

    done: trio.Event = msgspec.field(default_factory=trio.Event)
    error: DialError | None = None


def _nobody(_peer: PeerId) -> bool:
    """No relay is known."""
    return False


class Dials:
    """Starts dials and lets callers wait for them."""

    def __init__(
        self,
        book: AddressBook,
        within_s: float,
        connect: Callable[[PeerId, Sequence[Address]], Awaitable[None]],
        is_up: Callable[[PeerId], bool],
        has_place: Callable[[PeerId], bool],
        on_failed: Callable[[PeerId], None],
        has_relay: Callable[[PeerId], bool] = _nobody,
    ) -> None:
        self._book = book
        self._within_s = within_s
        self._connect = connect
        self._is_up = is_up
        self._has_place = has_place
        """Whether a peer can be connected beside the others that are."""
        self._has_relay = has_relay
        """Whether a peer without an address may be reached all the same."""
        self._on_failed = on_failed
        """Called when a dial has failed and the peer is not up."""
        self._slots = trio.CapacityLimiter(_AT_ONCE)
        self._under_way: dict[PeerId, Dial] = {}
        """By peer; each goes when it is done."""
        self.nursery: trio.Nursery | None = None
        """The host's, while it runs."""

    def __contains__(self, peer: PeerId) -> bool:
        return peer in self._under_way

    def why_not(self, peer: PeerId) -> str | None:
        """Why a dial of this peer cannot be started now, or None."""
        if self.nursery is None:
            return "this node is not running"
        if not self._book.of(peer) and not self._has_relay(peer):
            return "no address of it is known"
        if not self._has_place(peer):
            return str(NoPlaceError())
        return self._book.reason_to_wait(peer, trio.current_time())

    async def reach(self, peer: PeerId, addresses: Sequence[Address]) -> None:
        """Return once the peer is up; DialError when it cannot be reached.

        A dial already under way is joined, but its failure is not the last word: it may have
        tried other addresses.
        """
        joined = self._under_way.get(peer)
        if joined is not None:
            await joined.done.wait()
            if joined.error is None or self._is_up(peer):
                return
            if not addresses:  # nobody knew any but those that were just tried
                raise _again(joined.error)
        dial = self._under_way.get(peer) or self.start(peer, addresses)
        await dial.done.wait()
        if dial.error is not None and not self._is_up(peer):
            raise _again(dial.error)

    def start(self, peer: PeerId, addresses: Sequence[Address]) -> Dial:
        """Begin to dial in the background."""
        dial = Dial()
        if self.nursery is None:
            dial.error = DialError(_named(peer, addresses), "port", "this node is not running")
            dial.done.set()
            return dial
        self._under_way[peer] = dial
        self.nursery.start_soon(self._run, dial, peer, addresses)
        return dial

    async def _run(self, dial: Dial, peer: PeerId, addresses: Sequence[Address]) -> None:
        try:
            with trio.fail_after(self._within_s):
                async with self._slots:
                    if not self._has_place(peer):
                        raise no_place(_named(peer, addresses))
                    await self._connect(peer, addresses)
        except DialError as exc:
            dial.error = exc
        except trio.TooSlowError:
            detail = f"no connection within {self._within_s:g} s"
            dial.error = DialError(_named(peer, addresses), "port", detail)
        finally:
            del self._under_way[peer]
            dial.done.set()
        if dial.error is not None and not self._is_up(peer):
            if dial.error.cause != CAUSE_FULL:
                self._book.failed(peer, trio.current_time(), dial.error.detail)
            self._on_failed(peer)


def _named(peer: PeerId, addresses: Sequence[Address]) -> str:
    """What is dialled, for people: the first address, or the peer where none is known."""
    return str(addresses[0]) if addresses else f"/p2p/{peer}"


def _again(error: DialError) -> DialError:
    """The same for another who waits: an exception raised twice would gather both traces."""
    return DialError(error.address, error.cause, error.detail, error.tried)
