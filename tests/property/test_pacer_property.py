"""On any line: the pacer keeps the queue short, the line busy and the peers equal."""

from collections import deque
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from p2p.qos.pacer import PacerConfig, PathSample, UplinkPacer, fair_shares

TICK_S = 0.025
KERNEL_BURST_BYTES = 2 * 1500


@dataclass
class FluidLine:
    """Senders behind one queue, as a fluid; each sees the queue a round trip later."""

    rate: float
    rtt_s: float
    senders: int
    others: float = 0.0
    """Bytes a second of somebody else's, who does not care about the queue."""
    pacer: UplinkPacer[int] = field(default_factory=UplinkPacer)
    queue: float = 0.0
    now_s: float = 0.0
    acked: list[float] = field(init=False)
    queues_s: list[float] = field(default_factory=list)
    _rates: dict[int, float | None] = field(default_factory=dict)
    _seen: deque[tuple[float, list[float]]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.acked = [0.0] * self.senders

    def run(self, seconds: float, *, is_urgent: bool = True) -> None:
        """Let time pass."""
        for _ in range(int(seconds / TICK_S)):
            self._flow()
            samples = self._samples()
            self._rates = self.pacer.tick(samples, self.now_s, is_urgent=is_urgent)
            self.now_s += TICK_S

    def _flow(self) -> None:
        """Unlimited senders fill up to a quarter of a second of queue, as slow start does."""
        fill = max(0.0, self.rate * 0.25 - self.queue) / self.senders + self.rate * TICK_S
        sent = [fill if (rate := self._rates.get(at)) is None else rate * TICK_S
                for at in range(self.senders)]  # fmt: skip
        total = sum(sent) + self.others * TICK_S
        carried = min(self.queue + total, self.rate * TICK_S)
        self.queue = min(self.queue + total - carried, self.rate * 0.25)
        for at, size in enumerate(sent):
            self.acked[at] += carried * size / total if total else 0.0
        self.queues_s.append(self.queue / self.rate)

    def _samples(self) -> dict[int, PathSample]:
        self._seen.append((self.queue / self.rate, list(self.acked)))
        if len(self._seen) > 1 + self.rtt_s / TICK_S:
            self._seen.popleft()
        queue_s, acked = self._seen[0]
        burst_s = KERNEL_BURST_BYTES / self.rate / 2
        return {
            at: PathSample(self.rtt_s + queue_s + burst_s, self.rtt_s, int(acked[at]), True)
            for at in range(self.senders)
        }


LINES = st.builds(
    FluidLine,
    rate=st.floats(250_000, 12_500_000),
    rtt_s=st.floats(0.005, 0.15),
    senders=st.integers(1, 6),
)


@settings(max_examples=40, deadline=None)
@given(line=LINES)
def test_after_a_few_seconds_the_queue_is_short_and_the_line_busy(line: FluidLine) -> None:
    line.run(10.0)
    before, began = sum(line.acked), len(line.queues_s)
    line.run(10.0)
    queues = sorted(line.queues_s[began:])
    bound_s = max(0.012, 6 * 1500 / line.rate)
    assert queues[len(queues) * 95 // 100] <= bound_s
    assert (sum(line.acked) - before) / 10.0 >= 0.80 * line.rate


@settings(max_examples=25, deadline=None)
@given(line=LINES)
def test_peers_with_enough_to_send_get_the_same(line: FluidLine) -> None:
    line.run(5.0)
    before = list(line.acked)
    line.run(5.0)
    got = [after - was for after, was in zip(line.acked, before, strict=True)]
    assert max(got) <= 1.1 * min(got)


@settings(max_examples=25, deadline=None)
@given(line=LINES, part=st.floats(0.2, 3.0))
def test_whatever_others_do_bulk_is_not_starved(line: FluidLine, part: float) -> None:
    line.run(5.0)
    line.others = part * line.rate
    before = sum(line.acked)
    line.run(20.0)
    offered = PacerConfig().floor * line.rate
    fair = offered / (offered + line.others) if line.others else 1.0
    assert (sum(line.acked) - before) / 20.0 >= 0.75 * min(fair, 0.3) * line.rate


@settings(max_examples=10, deadline=None)
@given(line=LINES)
def test_nothing_is_held_back_while_nothing_is_urgent(line: FluidLine) -> None:
    line.run(3.0, is_urgent=False)
    assert set(line._rates.values()) == {None}


@given(
    budget=st.floats(1.0, 1e9),
    wanted=st.lists(st.one_of(st.none(), st.floats(0.0, 1e9)), min_size=1, max_size=8),
)
def test_a_budget_is_split_whole_and_nobody_has_more_at_the_cost_of_a_poorer(
    budget: float, wanted: list[float | None]
) -> None:
    shares = fair_shares(budget, wanted)
    assert abs(sum(shares) - budget) <= 1e-6 * budget + 1e-6
    needs = [float("inf") if want is None else want for want in wanted]
    for share, need in zip(shares, needs, strict=True):
        if share < need - 1e-6 * budget:  # who lacks has as much as anybody
            assert share >= max(shares) - 1e-6 * budget - sum(shares) * 1e-9


def test_a_line_of_which_nothing_is_known_is_not_limited() -> None:
    pacer: UplinkPacer[str] = UplinkPacer()
    sample = PathSample(0.040, 0.040, 0, is_backlogged=True)
    assert pacer.tick({"bob": sample}, 0.0, is_urgent=True) == {"bob": None}
    assert pacer.tick({}, 0.1, is_urgent=True) == {}


def test_a_peer_behind_a_slow_line_of_its_own_leaves_the_rest_to_others() -> None:
    """Bob's queue is his own; carol sees none and gets what is left of the uplink."""
    pacer: UplinkPacer[str] = UplinkPacer()
    acked = {"bob": 0.0, "carol": 0.0}
    rates: dict[str, float | None] = dict.fromkeys(acked)
    queues = {"bob": 0.0, "carol": 0.0}
    lines = {"bob": 250_000.0, "carol": 2_500_000.0}
    for step in range(int(20 / TICK_S)):
        for name, line in lines.items():
            sent = (rate if (rate := rates[name]) is not None else 2 * line) * TICK_S
            carried = min(queues[name] + sent, line * TICK_S)
            queues[name] = min(queues[name] + sent - carried, line * 0.25)
            acked[name] += carried
        samples = {
            name: PathSample(0.04 + queues[name] / lines[name], 0.04, int(acked[name]), True)
            for name in acked
        }
        rates = pacer.tick(samples, step * TICK_S, is_urgent=True)
    bob, carol = rates["bob"], rates["carol"]
    assert bob is not None
    assert carol is not None
    assert bob <= 1.3 * lines["bob"]
    assert carol >= 0.7 * lines["carol"]


def test_a_connection_that_another_follows_has_no_rate_below_nothing() -> None:
    """Both are to carol: the second counts what was acknowledged from nothing."""
    pacer: UplinkPacer[str] = UplinkPacer()
    for step in range(200):
        carols = 50_000 * step if step < 150 else 1000 * (step - 150)
        bob = PathSample(0.08, 0.04, int(250_000 * TICK_S * step), is_backlogged=True)
        carol = PathSample(0.04, 0.04, carols, is_backlogged=False)
        rates = pacer.tick({"bob": bob, "carol": carol}, step * TICK_S, is_urgent=True)
        assert all(rate is None or rate >= 0 for rate in rates.values())
    assert rates["carol"] is not None


def test_a_peer_at_rest_may_begin_with_its_part_while_another_takes_all() -> None:
    pacer: UplinkPacer[str] = UplinkPacer()
    acked, now_s = 0, 0.0
    rates: dict[str, float | None] = {}
    while now_s < 5.0:  # a line of 1 MB a second, of which a queue is drained now and then
        queue_s = 0.0 if now_s % 1.0 < 0.1 else 0.030
        acked += int(1_000_000 * TICK_S)
        rates = pacer.tick(
            {
                "busy": PathSample(0.040 + queue_s, 0.040, acked, is_backlogged=True),
                "resting": PathSample(0.040, 0.040, 0, is_backlogged=False),
            },
            now_s,
            is_urgent=True,
        )
        now_s += TICK_S
    busy, resting = rates["busy"], rates["resting"]
    assert busy is not None
    assert resting is not None
    assert resting >= busy / 2 > 100_000
