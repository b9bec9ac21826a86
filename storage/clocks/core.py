"""Whether our wall clock may end leases: what others say the time is, put against ours. Pure.

A clock that is wrong would free what others count on. Time counts only while more than half of all
that were asked, ourselves included, agree on it. (Whether what we sign would be dated wrong is
AdmissionBook's to say, of those connected: there a doubt stops nothing but one signature.)
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from p2p.ids import PeerId
from p2p.limits import CLOCK_SKEW_MAX_MS


class ClockStanding(StrEnum):
    """How our clock stands among the others'."""

    ALONE = "alone"
    """Nobody can be asked."""
    RIGHT = "right"
    """More than half agree with ours."""
    UNSURE = "unsure"
    """No time has a majority."""
    WRONG = "wrong"
    """More than half agree with one another and not with us."""


class ClockVerdict(msgspec.Struct, frozen=True):
    """What a round of questions has shown."""

    standing: ClockStanding
    ahead_ms: tuple[tuple[PeerId, int], ...] = ()
    """Those who differ from us by more than clocks may: their clock minus ours."""


def judge(offsets_ms: Mapping[PeerId, int]) -> ClockVerdict:
    """`offsets_ms`: the clock of each that answered, minus ours."""
    if not offsets_ms:
        return ClockVerdict(ClockStanding.ALONE)
    ahead = {peer: by for peer, by in offsets_ms.items() if abs(by) > CLOCK_SKEW_MAX_MS}
    all_told = len(offsets_ms) + 1
    with_us = all_told - len(ahead)
    if 2 * with_us > all_told:
        standing = ClockStanding.RIGHT
    elif 2 * _largest_group(list(ahead.values())) > all_told:
        standing = ClockStanding.WRONG
    else:
        standing = ClockStanding.UNSURE
    return ClockVerdict(standing, tuple(sorted(ahead.items())))


def _largest_group(offsets_ms: Sequence[int]) -> int:
    """The most that lie within what clocks may differ by."""
    ordered = sorted(offsets_ms)
    return max(
        (
            sum(low <= offset_ms <= low + CLOCK_SKEW_MAX_MS for offset_ms in ordered)
            for low in ordered
        ),
        default=0,
    )


def words_for(verdict: ClockVerdict, names: Mapping[PeerId, str]) -> tuple[str, ...]:
    """What people should know, one sentence each; none when all agree."""
    by_ms = sorted(by for _, by in verdict.ahead_ms)
    if verdict.standing is ClockStanding.WRONG:
        off = span_words(-by_ms[len(by_ms) // 2])
        return (
            f"the clock of this machine is {off} most others': set it right; until then it takes "
            "nothing new, frees nothing, and goes on serving what it has",
        )
    if not verdict.ahead_ms:
        return ()
    told = ", ".join(f"{names.get(p, p)} is {span_words(by)} ours" for p, by in verdict.ahead_ms)
    if verdict.standing is ClockStanding.RIGHT:
        return (f"clocks differ: {told}, which most others share: set the wrong one right",)
    return (f"clocks differ: {told}: set the wrong one right; until then nothing is freed here",)


def span_words(ms: int) -> str:
    """`40 d ahead of`, `3 h behind`."""
    seconds = abs(ms) // 1000
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} {'ahead of' if ms > 0 else 'behind'}"
    return f"{seconds} s {'ahead of' if ms > 0 else 'behind'}"
