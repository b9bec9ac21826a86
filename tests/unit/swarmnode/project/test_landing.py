"""A result lies in its place, and never in that of a file that only we have."""

from swarmnode.project.landing import FileMark, Landing, landing_of
from swarmnode.tree.names import Parts

NAME = (b"results", b"model.pt")
BESIDE = (b"results", b"model.pt.abc")
OLD, NEW = FileMark(1, 1, 1, 1), FileMark(1, 2, 2, 1)


def landing(here: dict[Parts, FileMark], known: dict[Parts, FileMark]) -> Landing:
    return landing_of(NAME, here.get, known, beside)


def beside(place: Parts, number: int) -> Parts:
    return (*place[:-1], place[-1] + (b".abc" if number == 1 else b".abc-%d" % number))


def test_where_nothing_lies_it_has_its_place() -> None:
    assert landing({}, {}) == Landing(NAME, False)
    assert landing({}, {NAME: OLD}) == Landing(NAME, False)


def test_what_was_sent_or_brought_gives_way_while_nobody_touched_it() -> None:
    assert landing({NAME: OLD}, {NAME: OLD}) == Landing(NAME, False)
    assert landing({NAME: NEW}, {NAME: OLD}) == Landing(BESIDE, True)
    assert landing({NAME: OLD}, {}) == Landing(BESIDE, True)


def test_what_lies_beside_is_ours_as_well_once_it_was_touched() -> None:
    here: dict[Parts, FileMark] = {NAME: NEW, BESIDE: NEW}
    assert landing(here, {BESIDE: NEW}) == Landing(BESIDE, True)
    second = (b"results", b"model.pt.abc-2")
    assert landing(here, {BESIDE: OLD}) == Landing(second, True)
