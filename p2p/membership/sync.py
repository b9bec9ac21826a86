"""Whole views in pages: what is sent when two nodes find that theirs differ."""

from collections.abc import Callable, Iterable, Iterator

from p2p.ids import PeerId
from p2p.limits import NEWS_BYTES_MAX, NEWS_MEMBERS_MAX
from p2p.membership.messages import News, Opinion, SyncPage
from p2p.membership.table import MemberRow
from p2p.membership.view import Liveness, Member

NOBODY = PeerId("")
"""Smaller than every peer id; as an upper bound, none."""

Judge = Callable[[Member, Liveness], Opinion]


def pages(
    rows: Iterable[MemberRow],
    judge: Judge,
    low: PeerId = NOBODY,
    high: PeerId = NOBODY,
    *,
    wants_answer: bool,
) -> list[SyncPage]:
    """Pages that together cover low < id <= high and hold these rows, which lie in it."""
    groups = list(_grouped(rows)) or [[]]
    made = []
    for at, group in enumerate(groups):
        is_last = at == len(groups) - 1
        upper = high if is_last else group[-1].member.peer
        made.append(SyncPage(low, upper, _news(group, judge), wants_answer, is_last))
        low = upper
    return made


def _grouped(rows: Iterable[MemberRow]) -> Iterator[list[MemberRow]]:
    group: list[MemberRow] = []
    size = 0
    for row in rows:
        if group and (size + row.size > NEWS_BYTES_MAX or len(group) >= NEWS_MEMBERS_MAX):
            yield group
            group, size = [], 0
        group.append(row)
        size += row.size
    if group:
        yield group


def _news(group: list[MemberRow], judge: Judge) -> News:
    doubted = (Liveness.SUSPECT, Liveness.DEAD)
    return News(
        tuple(row.sealed for row in group),
        tuple(judge(r.member, r.member.liveness) for r in group if r.member.liveness in doubted),
    )
