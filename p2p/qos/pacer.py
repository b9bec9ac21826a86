"""How fast bulk may leave this node so that its queue at the slowest router stays short: pure.

The bulk connections of all peers share one uplink. Their round-trip times tell how long the queue
is: what they see above the shortest ever seen, and what the one that sees least sees is the queue
that all share.

    queue stands -> the line is full: what arrives is its rate
    no queue     -> there may be more: ask for a little more
    rate allowed = rate of the line x (1 + (target - queue) / settle time)

What the node may send is split evenly among the peers that have enough to send (the fluid limit
of deficit round robin); what one leaves over goes to the others. A peer behind a queue of its own
is held back by the same rule, applied to what it sees beyond the shared queue. Without urgent
traffic there is nothing to protect, and no limit.

Acknowledgements also wait for a receiver that is slow to read, and that looks like a queue which
never ends. So every second the queue is drained on purpose, and what is seen then is none.
"""

from collections import deque
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

import msgspec

K = TypeVar("K", bound=Hashable)


class PacerConfig(msgspec.Struct, frozen=True):
    """The control law; measured on 20 Mbit/s, 40 ms, 500 kB FIFO (`bench qos`)."""

    # One tenth of a short round trip: enough to keep the line full, too little to be felt.
    target_s: float = 0.0025
    # Below this the line may have room: the kernel's bursts of two packets alone are that long.
    standing_s: float = 0.0015
    # A deviation of the queue is mended in about this time; three times the loop's own delay.
    settle_s: float = 0.25
    # Acknowledgements are counted over this; a round trip brings too few to tell a rate.
    window_s: float = 0.4
    # The shortest of the last few looks: one late acknowledgement is no queue.
    looks: int = 3
    # Up to a little more than the line is known to carry; beyond that, only a line that has
    # been without a real queue for long is felt for.
    grow_per_s: float = 0.1
    beyond: float = 1.02
    beyond_after_s: float = 4.0
    real_s: float = 0.005
    # The queue that slow start leaves takes so long to go.
    new_for_s: float = 0.75
    # Far below the best of the last minute (others have left the line) there is less to fear.
    grow_per_s_far: float = 2.0
    far: float = 0.85
    # So often the queue is drained, for so long, at this part of the rate: 10 ms of it.
    drain_every_s: float = 1.0
    drain_for_s: float = 0.075
    drain: float = 0.87
    # What was seen at least since the last but one drain is no queue, unless it is long.
    lows_of_s: float = 2.2
    low_s_max: float = 0.02
    # A rate is believed once more was to be sent for so long: ten short round trips of slow start.
    learn_s: float = 0.5
    # On a slow line a queue is a packet or two, and acknowledgements are delayed for want of more.
    packet_bytes: int = 1500
    # A queue from before pacing began is drained at this part of the line's rate.
    slowest: float = 0.5
    fastest: float = 0.95
    # However long the queue of others is, bulk keeps this part of the best rate of a minute: what
    # the caps of the strict classes leave.
    floor: float = 0.30
    best_of_s: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < self.standing_s < self.target_s:
            raise ValueError("standing_s must be positive and below target_s")
        if not 0 < self.floor <= self.slowest < self.fastest:
            raise ValueError("0 < floor <= slowest < fastest must hold")


class PathSample(msgspec.Struct, frozen=True):
    """One bulk connection now."""

    rtt_s: float
    rtt_min_s: float
    """The shortest to this peer, over whichever connection."""
    acked_bytes: int
    is_backlogged: bool
    """More waits than the socket takes."""
    beside_bytes: int = 0
    """Acknowledged on the connection beside it: these share the line."""

    @property
    def queue_s(self) -> float:
        """What the round trip took longer than the shortest."""
        return max(0.0, self.rtt_s - self.rtt_min_s)


class Line:
    """A line whose rate is found out by its queue: the uplink, or one peer's path."""

    def __init__(self, config: PacerConfig) -> None:
        self._config = config
        self.rate: float | None = None
        """Bytes a second that it carries, as far as is known."""
        self._best: deque[tuple[float, float]] = deque()
        """(when, rate) of the last minute but those a later one reached: the first is the best."""
        self._full_s = 0.0
        """For how long more has wanted to go, without a break."""
        self._dry_s = 0.0
        """For how long no real queue was seen; counted while the line is full."""
        self._has_stood = False
        """A real queue was seen, and not just at first (new_for_s): now it grows with care."""
        self._known_s = 0.0
        """For how long the rate is known, or since `renew`; counted while the line is full."""

    def renew(self) -> None:
        """What is known was learned under conditions that have ended: feel for more at once."""
        self._has_stood, self._known_s = False, 0.0

    def tick(self, queue_s: float, arriving: float, *, is_full: bool, dt_s: float) -> None:
        """`arriving` bytes a second behind a queue of `queue_s`; full when more wanted to go."""
        self._full_s = self._full_s + dt_s if is_full else 0.0
        if not is_full:
            return
        if self.rate is None:
            if self._full_s >= self._config.learn_s and queue_s > 2 * self._config.target_s:
                self.rate = arriving
            return
        self._note_queue(queue_s, dt_s)
        if queue_s > max(self._config.standing_s, self._packets_s(1)):
            self.rate += (arriving - self.rate) * min(1.0, dt_s / self._config.window_s)
        else:
            self.rate = max(self.rate, self._grown(self.rate, dt_s))

    def _note_queue(self, queue_s: float, dt_s: float) -> None:
        """Whether a real queue stands, and for how long none has."""
        self._dry_s += dt_s
        self._known_s += dt_s
        if queue_s > max(self._config.real_s, self._packets_s(3)):
            self._dry_s = 0.0
            self._has_stood = self._has_stood or self._known_s > self._config.new_for_s

    def _grown(self, rate: float, dt_s: float) -> float:
        config = self._config
        is_new = not self._has_stood
        is_far = is_new or rate < config.far * self.best
        growth_per_s = config.grow_per_s_far if is_far else config.grow_per_s
        may_pass = is_new or self._dry_s > config.beyond_after_s
        rate_max = (1.25 if may_pass else config.beyond) * self.best
        return min(rate * (1 + growth_per_s * dt_s), rate_max)

    def _packets_s(self, packets: int) -> float:
        """How long so many packets take."""
        return packets * self._config.packet_bytes / max(self.rate or 0.0, 1.0)

    def remember(self, arriving: float, now_s: float) -> None:
        """Keep the best rates of the last minute, for the floor."""
        while self._best and self._best[-1][1] <= arriving:
            self._best.pop()
        self._best.append((now_s, arriving))
        while self._best[0][0] < now_s - self._config.best_of_s:
            self._best.popleft()

    @property
    def best(self) -> float:
        """The best rate that arrived in the last minute."""
        return self._best[0][1] if self._best else 0.0

    def allowed(self, queue_s: float, whole: float = 0.0) -> float | None:
        """Bytes a second that may be sent now; None while nothing is known.

        `whole` is the best rate of everything on the line, when that is more than ours.
        """
        if self.rate is None:
            return None
        config = self._config
        target_s = max(config.target_s, self._packets_s(3))
        lean = 1 + (target_s - queue_s) / max(config.settle_s, 4 * target_s)
        rate = self.rate * min(max(lean, config.slowest), config.fastest)
        return max(rate, config.floor * max(self.best, whole), 1.0)


class _Path(msgspec.Struct):
    line: Line
    """The peer's own part of the way, behind the queue that all share."""
    looks: deque[float]
    """How long the queue was in the last few samples (s)."""
    acked: deque[tuple[float, int, int]] = msgspec.field(default_factory=deque)
    """(when, bytes acknowledged, the same beside) of the last window_s, the oldest first."""
    lows: deque[tuple[float, float]] = msgspec.field(default_factory=deque)
    """(when, queue) of the last lows_of_s but for what a later one undercut: the first is least."""
    queue_s: float = 0.0
    """What it sees now beyond what never goes away."""
    arriving: float = 0.0
    """Bytes a second that were acknowledged within the window."""
    beside: float = 0.0
    """The same on the connection beside it."""
    is_backlogged: bool = False

    def look(self, sample: PathSample, now_s: float, config: PacerConfig) -> None:
        """Take in what is seen of it now."""
        self.is_backlogged = sample.is_backlogged
        self._look_at_queue(sample, now_s, config)
        self._look_at_rate(sample, now_s, config.window_s)

    def _look_at_queue(self, sample: PathSample, now_s: float, config: PacerConfig) -> None:
        self.looks.append(sample.queue_s)
        while self.lows and self.lows[-1][1] >= sample.queue_s:
            self.lows.pop()
        self.lows.append((now_s, sample.queue_s))
        while self.lows[0][0] < now_s - config.lows_of_s:
            self.lows.popleft()
        self.queue_s = max(0.0, min(self.looks) - min(self.lows[0][1], config.low_s_max))

    def _look_at_rate(self, sample: PathSample, now_s: float, window_s: float) -> None:
        if self.acked and (sample.acked_bytes, sample.beside_bytes) != self._at_least(sample):
            self.acked.clear()  # another connection to the same peer: it counts from nothing
        self.acked.append((now_s, sample.acked_bytes, sample.beside_bytes))
        while len(self.acked) > 2 and self.acked[1][0] <= now_s - window_s:
            self.acked.popleft()
        began_s, before, beside_before = self.acked[0]
        passed_s = max(now_s - began_s, window_s / 2)
        self.arriving = (sample.acked_bytes - before) / passed_s
        self.beside = (sample.beside_bytes - beside_before) / passed_s

    def _at_least(self, sample: PathSample) -> tuple[int, int]:
        """What counters of the same connections cannot be below."""
        _, acked, beside = self.acked[-1]
        return max(acked, sample.acked_bytes), max(beside, sample.beside_bytes)


class UplinkPacer(Generic[K]):
    """One node's bulk connections, by whatever names the caller gives them."""

    def __init__(self, config: PacerConfig | None = None) -> None:
        self._config = config or PacerConfig()
        self._uplink = Line(self._config)
        """The bulk of all peers as one line."""
        self._all = Line(self._config)
        """The same with what goes beside it: only its best rates are kept."""
        self._paths: dict[K, _Path] = {}
        """By connection: those of the last tick, with what was seen of each before."""
        self._last_s: float | None = None
        """Time of the last tick; None before the first."""

    def tick(
        self, samples: Mapping[K, PathSample], now_s: float, *, is_urgent: bool
    ) -> dict[K, float | None]:
        """How fast each connection may send until the next tick, in bytes a second.

        None is no limit: nothing urgent passes, or nothing is known yet. The order of the answer
        is that of `samples`.
        """
        dt_s = 0.0 if self._last_s is None else max(0.0, now_s - self._last_s)
        self._last_s = now_s
        self._look(samples, now_s)
        busy = [path for path in self._paths.values() if path.is_backlogged]
        if not busy:
            return dict.fromkeys(samples)
        shared_s = min(path.queue_s for path in busy)
        self._learn(shared_s, now_s, dt_s)
        budget = self._uplink.allowed(shared_s, self._all.best)
        if budget is None or not is_urgent:
            return dict.fromkeys(samples)
        if now_s % self._config.drain_every_s < self._config.drain_for_s:
            budget *= self._config.drain
        wanted = [self._wanted(path, shared_s) for path in self._paths.values()]
        shares = dict(zip(self._paths, fair_shares(budget, wanted), strict=True))
        # Whoever begins before the next tick finds as much as it gets then: the kernel times what
        # it is given by the rate of that moment.
        newcomer = budget / (len(busy) + 1)
        return {
            name: share if self._paths[name].is_backlogged else max(share, newcomer)
            for name, share in shares.items()
        }

    @property
    def line_rate(self) -> float | None:
        """Bytes of everything a second that the uplink carried at its best; None before long."""
        return None if self._uplink.rate is None else self._all.best

    @property
    def queue_s(self) -> float:
        """The queue that all busy connections see."""
        return min((p.queue_s for p in self._paths.values() if p.is_backlogged), default=0.0)

    def renew(self) -> None:
        """A connection has got another congestion control: its rate may have been held down."""
        for line in (self._uplink, *(path.line for path in self._paths.values())):
            line.renew()

    def _look(self, samples: Mapping[K, PathSample], now_s: float) -> None:
        former, self._paths = self._paths, {}
        for name, sample in samples.items():
            path = former.get(name)
            if path is None:
                path = _Path(Line(self._config), deque(maxlen=self._config.looks))
            path.look(sample, now_s, self._config)
            self._paths[name] = path

    def _learn(self, shared_s: float, now_s: float, dt_s: float) -> None:
        """What arrives behind the queue that all share, and behind each peer's own."""
        arriving = sum(path.arriving for path in self._paths.values())
        self._uplink.remember(arriving, now_s)
        self._all.remember(arriving + sum(p.beside for p in self._paths.values()), now_s)
        self._uplink.tick(shared_s, arriving, is_full=True, dt_s=dt_s)
        for path in self._paths.values():
            path.line.remember(path.arriving, now_s)
            own_s = max(0.0, path.queue_s - shared_s)
            path.line.tick(own_s, path.arriving, is_full=path.is_backlogged, dt_s=dt_s)

    def _wanted(self, path: _Path, shared_s: float) -> float | None:
        if not path.is_backlogged:
            return 1.25 * path.arriving
        return path.line.allowed(max(0.0, path.queue_s - shared_s))


def fair_shares(budget: float, wanted: list[float | None]) -> list[float]:
    """Split a budget: nobody gets more than it wants (None: any amount), nobody could get more
    without one who has less getting less (max-min). What nobody wants is spread evenly."""
    shares = [0.0] * len(wanted)
    left, poor = budget, len(wanted)
    by_want = sorted(range(len(wanted)), key=lambda at: _or_infinite(wanted[at]))
    for at in by_want:
        shares[at] = min(_or_infinite(wanted[at]), left / poor)
        left -= shares[at]
        poor -= 1
    return [share + left / len(wanted) for share in shares]


def _or_infinite(want: float | None) -> float:
    return float("inf") if want is None else want
