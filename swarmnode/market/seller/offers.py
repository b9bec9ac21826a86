"""The seller's open offers: room held for bids, and buyers that wait for room.

A bid HELD has its room really set aside until it is awarded, released or its time is over. A
buyer told QUEUED keeps a place; when room frees, the most urgent one that fits gets a new bid.
"""

import msgspec

from p2p.effects import Rng, Send, WakeAt
from p2p.ids import PeerId
from swarmnode import reach
from swarmnode.limits import (
    HOLDS_MAX,
    NET_WORDS_MAX,
    PEERS_METERED_MAX,
    REASON_CHARS_MAX,
    WAITING_MAX,
)
from swarmnode.market.messages import Bid, BidKind, CallForBids
from swarmnode.market.seller.config import SellerConfig
from swarmnode.market.seller.environments import bytes_to_bring, lacking_environment
from swarmnode.market.seller.events import CallHeard, Effect, HoldOver, WaitingOver
from swarmnode.market.seller.room import CapacityBook, Fitness, is_plausible, share_of
from swarmnode.tasks.records import RoomGrant
from swarmnode.tasks.spec import PriorityClass, Shape

_RANKS = {kind: rank for rank, kind in enumerate(PriorityClass)}
_BIDS: int = 2**52
"""Bids are numbered from a random start, so that one of an earlier life is never taken for ours."""


class Hold(msgspec.Struct, frozen=True):
    """Room set aside for one bid; the grant is in the capacity book under `hold/<bid>`."""

    bid: Bid
    heard: CallHeard
    grant: RoomGrant
    until_s: float
    """An award that comes later finds nothing."""


class _WaitingBuyer(msgspec.Struct, frozen=True):
    heard: CallHeard
    arrival: int
    """Number of its first call: who asks again keeps its turn."""
    until_s: float
    """It is forgotten then, unless its buyer has asked again."""

    def urgency(self) -> tuple[int, int, int]:
        call = self.heard.call
        return _RANKS[call.priority_class], call.priority, self.arrival


class Offers:
    """Answers calls. `jobs_now` in its methods is the number of jobs that use room."""

    def __init__(self, config: SellerConfig, room: CapacityBook, rng: Rng) -> None:
        self.fitness = Fitness(trouble="this machine has not been looked at yet")
        """What the newest look at the machine said; before the first it runs nothing."""
        self.is_paused = False
        """Its owner uses the machine; the core writes it down."""
        self.version = 0
        """Grows when either of these is set anew: others have to hear of that."""
        self._config = config
        self._room = room
        self._next_bid = rng.randrange(1, _BIDS)
        """Number of the next bid with room; only grows."""
        self._holds: dict[int, Hold] = {}
        """By bid, HOLDS_MAX at most; each has its grant in the room."""
        self._waiting: dict[tuple[PeerId, int], _WaitingBuyer] = {}
        """By buyer and auction, who asked last is last; WAITING_MAX at most, the first goes."""
        self._arrivals = 0
        """Number of the newest call that was given a place."""
        self._tokens: dict[PeerId, tuple[float, float]] = {}
        """Calls that each foreign machine has left, and when that was so; PEERS_METERED_MAX."""
        self.expired = 0
        """Holds whose time was over before anybody took them up."""

    def survey(self, fitness: Fitness) -> None:
        """The machine was looked at."""
        if fitness != self.fitness:
            self.fitness = fitness
            self.version += 1

    def pause(self) -> None:
        """The owner wants the machine: nothing is held and nobody waits any more."""
        self.is_paused = True
        self.version += 1
        for hold in list(self._holds.values()):
            self._drop(hold)
        self._waiting.clear()

    def resume(self) -> None:
        """The owner lends it again."""
        self.is_paused = False
        self.version += 1

    def held(self) -> int:
        """Bids with room set aside."""
        return len(self._holds)

    def grants(self) -> dict[str, RoomGrant]:
        """What is set aside, by its name in the room."""
        return {f"hold/{bid}": hold.grant for bid, hold in self._holds.items()}

    def waits(self) -> int:
        """Buyers that wait for room."""
        return len(self._waiting)

    def on_call(self, heard: CallHeard, now_s: float, jobs_now: int, eta_s: float) -> list[Effect]:
        """Answer with HELD, QUEUED or REFUSED."""
        call, peer = heard.call, heard.peer
        for hold in self._holds.values():
            if (hold.heard.peer, hold.heard.call.auction) == (peer, call.auction):
                return [Send(peer, hold.bid)]  # our first answer was lost
        fault = self._fault_of(heard, now_s)
        if fault is not None:
            reason, detail = fault
            words = detail[:REASON_CHARS_MAX]
            return [Send(peer, Bid(call.auction, 0, BidKind.REFUSED, reason=reason, detail=words))]
        return self._hold(heard, now_s, jobs_now) or self._queue(heard, now_s, eta_s)

    def on_release(self, peer: PeerId, auction: int) -> None:
        """Drop the hold and the place of one buyer's auction."""
        self._waiting.pop((peer, auction), None)
        for hold in list(self._holds.values()):
            if (hold.heard.peer, hold.heard.call.auction) == (peer, auction):
                self._drop(hold)

    def on_hold_over(self, event: HoldOver) -> None:
        """Free room that nobody took up."""
        hold = self._holds.get(event.bid)
        if hold is not None:
            self.expired += 1
            self._drop(hold)

    def on_waiting_over(self, event: WaitingOver, now_s: float) -> None:
        """Forget a place, unless the buyer has asked again since."""
        place = self._waiting.get((event.peer, event.auction))
        if place is not None and place.until_s <= now_s:
            del self._waiting[event.peer, event.auction]

    def take_up(self, peer: PeerId, bid: int, now_s: float) -> Hold | None:
        """The hold behind a bid made to this peer, taken off the list; its room stays taken."""
        hold = self._holds.get(bid)
        if hold is None or hold.heard.peer != peer or hold.until_s < now_s:
            return None
        return self._holds.pop(bid)

    def waits_for(self, heard: CallHeard) -> bool:
        """Whether that auction keeps a place."""
        return (heard.peer, heard.call.auction) in self._waiting

    def offer_room(self, now_s: float, jobs_now: int) -> list[Effect]:
        """Give freed room to those who wait: the most urgent first, and whoever fits behind."""
        effects: list[Effect] = []
        if not self._lends():
            return effects
        for place in sorted(self._waiting.values(), key=_WaitingBuyer.urgency):
            made = self._hold(place.heard, now_s, jobs_now)
            if made:
                del self._waiting[place.heard.peer, place.heard.call.auction]
                effects += made
        return effects

    def _lends(self) -> bool:
        return self._config.lends and not self.is_paused and not self.fitness.trouble

    def _fault_of(self, heard: CallHeard, now_s: float) -> tuple[str, str] | None:
        """Why asking again is no use: a stable code, and words."""
        call = heard.call
        if not self._may_call(heard, now_s):
            return "quota", "too many calls from this machine: ask less often"
        if not self._config.lends:
            return "admission", "this machine runs no tasks"
        if self.is_paused:
            return "paused", "its owner has paused this machine"
        if call.priority_class is PriorityClass.OWNER and not heard.is_owner:
            return "owner", "class owner is for the owner of this machine: submit without it"
        if self.fitness.trouble:
            return "capacity", self.fitness.trouble
        return self._lack(heard) or self._out_of_reach(heard) or self._shortage(call.shape)

    def _lack(self, heard: CallHeard) -> tuple[str, str] | None:
        """What this machine does not have for such a task."""
        call, fitness = heard.call, self.fitness
        if call.env and (words := lacking_environment(call, fitness, is_ours=heard.is_ours)):
            return "environment", words
        if call.secrets and not self._config.has_secret_place:
            return "secrets", "no place for secrets here: compute.sandbox is container"
        if missing := [name for name in call.enforce if name not in fitness.enforced]:
            return "limit", f"cannot enforce {', '.join(missing)} here"
        return None

    def _out_of_reach(self, heard: CallHeard) -> tuple[str, str] | None:
        """What of the network its owner keeps such a task from, and what would change that."""
        asked, config = heard.call.net, self._config
        if asked and self.fitness.net_trouble:
            return "network", f"no task has a network here: {self.fitness.net_trouble}"
        allowed = config.net if heard.is_ours else config.net_others
        if len(asked) > NET_WORDS_MAX:
            return "network", f"{len(asked)} hosts asked, limit {NET_WORDS_MAX}"
        if not (missing := reach.beyond(allowed, asked)):
            return None
        whose, key = ("its own lab", "net") if heard.is_ours else ("other labs", "net_others")
        told = f"this machine lets tasks of {whose} reach {reach.named(allowed)}"
        remedy = f"its owner can add it in [compute] {key}"
        return "network", f"{told}, {reach.named(missing)} asked: {remedy}"

    def _shortage(self, shape: Shape) -> tuple[str, str] | None:
        """Of what it has too little, also when nothing runs."""
        free_bytes = self._room.capacity.disk_bytes
        if shape.disk_bytes > free_bytes:
            mib = (shape.disk_bytes >> 20, free_bytes >> 20)
            return "capacity", "no room: it wants {} MiB of disk, {} are lent or free".format(*mib)
        if not is_plausible(shape) or not self._room.could_fit(shape):
            return "capacity", "the task is larger than what this machine lends"
        return None

    def _may_call(self, heard: CallHeard, now_s: float) -> bool:
        """A token bucket per foreign machine."""
        if heard.is_ours:
            return True
        config = self._config
        left, at_s = self._tokens.pop(heard.peer, (float(config.calls_burst), now_s))
        left = min(config.calls_burst, left + (now_s - at_s) * config.calls_per_s)
        self._tokens[heard.peer] = (left - 1 if left >= 1 else left, now_s)
        if len(self._tokens) > PEERS_METERED_MAX:
            del self._tokens[next(iter(self._tokens))]
        return left >= 1

    def _hold(self, heard: CallHeard, now_s: float, jobs_now: int) -> list[Effect]:
        """Set room aside and bid; nothing when there is no room now."""
        grant = self._room.grant_for(heard.call.shape)
        full = jobs_now + len(self._holds) >= self._config.tasks_max
        if grant is None or full or len(self._holds) >= HOLDS_MAX:
            return []
        if not self._within_share(heard, grant):
            return []
        if not heard.is_owners and any(
            waiting.heard.is_owners for waiting in self._waiting.values()
        ):
            return []  # what becomes free is the owner's
        hold_s = min(max(heard.call.hold_ms, 0) / 1000, self._config.hold_max_s)
        bid = self._bid(heard.call, grant, hold_s)
        self._room.take(f"hold/{bid.bid}", grant)
        self._holds[bid.bid] = Hold(bid, heard, grant, now_s + hold_s)
        return [Send(heard.peer, bid), WakeAt(now_s + hold_s, HoldOver(bid.bid))]

    def _bid(self, call: CallForBids, grant: RoomGrant, hold_s: float) -> Bid:
        bid = Bid(
            call.auction,
            self._next_bid,
            BidKind.HELD,
            hold_ms=int(hold_s * 1000),
            waste_micro=self._room.waste_micro(grant),
            alone_ms=round(self._config.alone_s * 1000),
            bring_bytes=bytes_to_bring(call, self.fitness),
        )
        self._next_bid += 1
        return bid

    def _within_share(self, heard: CallHeard, grant: RoomGrant) -> bool:
        """One foreign lab cannot keep the machine busy with offers it never takes up."""
        theirs = [hold.grant for hold in self._holds.values() if hold.heard.lab == heard.lab]
        if heard.is_ours or not theirs:
            return True
        total = RoomGrant(
            sum(room.cpu_millis for room in (*theirs, grant)),
            sum(room.memory_bytes for room in (*theirs, grant)),
            0,
            tuple(uuid for room in (*theirs, grant) for uuid in room.gpus),
        )
        return share_of(total, self._room.capacity) <= self._config.foreign_share

    def _queue(self, heard: CallHeard, now_s: float, eta_s: float) -> list[Effect]:
        key = (heard.peer, heard.call.auction)
        held_s = min((hold.until_s - now_s for hold in self._holds.values()), default=eta_s)
        eta_ms = int(max(0.0, min(held_s, eta_s)) * 1000)
        self._arrivals += 1
        before = self._waiting.pop(key, None)  # who asks again keeps its turn
        arrival = before.arrival if before else self._arrivals
        self._waiting[key] = _WaitingBuyer(heard, arrival, now_s + self._config.waiting_s)
        if len(self._waiting) > WAITING_MAX:
            del self._waiting[next(iter(self._waiting))]
        return [
            Send(heard.peer, Bid(heard.call.auction, 0, BidKind.QUEUED, eta_ms=eta_ms)),
            WakeAt(now_s + self._config.waiting_s, WaitingOver(*key)),
        ]

    def _drop(self, hold: Hold) -> None:
        del self._holds[hold.bid.bid]
        self._room.give_back(f"hold/{hold.bid.bid}")
