import pytest

from p2p.ids import PeerId
from p2p.limits import CLOCK_SKEW_MAX_MS
from storage.clocks.core import ClockStanding, ClockVerdict, judge, span_words, words_for

DAY_MS = 24 * 3600 * 1000
LATE = -40 * DAY_MS
"""How the clocks of others look to one that is 40 days ahead."""


def told(*offsets_ms: int) -> dict[PeerId, int]:
    return {PeerId(f"p{at}"): by for at, by in enumerate(offsets_ms)}


@pytest.mark.parametrize(
    ("offsets_ms", "standing"),
    [
        ((), ClockStanding.ALONE),
        ((0,), ClockStanding.RIGHT),
        ((CLOCK_SKEW_MAX_MS, -CLOCK_SKEW_MAX_MS), ClockStanding.RIGHT),
        ((LATE,), ClockStanding.UNSURE),
        ((0, LATE), ClockStanding.RIGHT),
        ((LATE, LATE), ClockStanding.WRONG),
        ((LATE, LATE + 1000, 0), ClockStanding.UNSURE),
        ((LATE, LATE + 1000, LATE - 1000, 0), ClockStanding.WRONG),
        ((LATE, -LATE), ClockStanding.UNSURE),
        ((LATE, -LATE, 3 * LATE), ClockStanding.UNSURE),
        ((0, 0, LATE, LATE), ClockStanding.RIGHT),
    ],
)
def test_time_counts_while_more_than_half_agree_on_it(
    offsets_ms: tuple[int, ...], standing: ClockStanding
) -> None:
    assert judge(told(*offsets_ms)).standing is standing


def test_who_differs_is_named_on_both_sides() -> None:
    right = judge(told(0, 40 * DAY_MS))
    assert right.ahead_ms == (("p1", 40 * DAY_MS),)
    (words,) = words_for(right, {PeerId("p1"): "beta"})
    assert words.startswith("clocks differ: beta is 40 d ahead of ours")
    (words,) = words_for(judge(told(LATE, LATE)), {})
    assert words.startswith("the clock of this machine is 40 d ahead of most others'")
    (words,) = words_for(judge(told(LATE)), {PeerId("p0"): "alpha"})
    assert "alpha is 40 d behind ours" in words
    assert "nothing is freed" in words
    assert words_for(ClockVerdict(ClockStanding.RIGHT), {}) == ()


def test_spans_are_told_in_the_unit_that_fits() -> None:
    assert span_words(150_000) == "2 min ahead of"
    assert span_words(-3 * 3600 * 1000) == "3 h behind"
    assert span_words(-119_000) == "119 s behind"
