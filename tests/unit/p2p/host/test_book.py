"""The book of who was admitted: whose time is up, who is out, and whose clocks agree."""

from msgspec.structs import replace

from p2p.host.admission.book import AdmissionBook
from p2p.identity.issue import DAY_MS
from p2p.identity.lineage import CertLink
from p2p.identity.register.register import Register
from p2p.ids import PeerId, PersonId
from p2p.limits import ADMITTED_MAX, CLOCK_SKEW_MAX_MS
from tests.admission_lab import ALICE, ANCHOR, BOB, BOBS, NOW, admission, entry, removal


def book(*revoked: str) -> AdmissionBook:
    return AdmissionBook(Register(ANCHOR, ALICE), lambda: revoked)


def test_the_book_is_bounded_and_forgets_the_oldest() -> None:
    full = book()
    for number in range(ADMITTED_MAX + 1):
        full.enter(entry(number))
    assert full.admitted(PeerId("peer-00000")) is None
    assert full.admitted(PeerId("peer-00001")) is not None


def test_peers_whose_time_is_up_or_who_were_revoked_are_found() -> None:
    some = book("member-2")
    some.enter(entry(1))
    some.enter(replace(entry(2), expires_ms=NOW + DAY_MS))
    assert not some.lapsed(NOW)
    assert list(some.lapsed(NOW + CLOCK_SKEW_MAX_MS + 1)) == ["peer-00001"]
    assert some.removed() == {"peer-00002": "it is in this machine's revoked.txt"}


def test_a_clock_that_was_set_since_is_taken_into_account() -> None:
    some, clock_ms = book(), [0]
    some.clock_ms = lambda: clock_ms[0]
    peers = [entry(number).peer for number in range(3)]
    for number in range(3):
        some.enter(replace(entry(number), skew_ms=40 * DAY_MS))  # ours is behind
    assert some.would_misdate(peers)
    clock_ms[0] = 40 * DAY_MS  # somebody set it
    assert not some.would_misdate(peers)
    some.renew(entry(1))
    renewed = some.admitted(peers[1])
    assert renewed is not None
    assert renewed.skew_ms == 40 * DAY_MS
    assert not some.would_misdate([])


def test_nobody_keeps_others_from_removing_them_by_clocks_that_lie() -> None:
    """One person makes as many machines as they like, and each tells its own time."""
    some = book()
    machines = [replace(entry(number), person=PersonId("mallory")) for number in range(9)]
    honest = [replace(entry(10 + number), person=PersonId(f"p{number}")) for number in range(2)]
    for who in machines:
        some.enter(replace(who, skew_ms=40 * DAY_MS))
    for who in honest:
        some.enter(replace(who, skew_ms=0))
    assert not some.would_misdate([who.peer for who in (*machines, *honest)])
    alone = [who.peer for who in machines]
    assert some.would_misdate(alone)
    for who in machines:
        link = CertLink("swarm/member", "mallory", "", "mallory")
        some.enter(replace(who, skew_ms=40 * DAY_MS, lineage=(link,)))
    assert not some.would_misdate(alone, but_for="mallory")


def test_who_is_out_is_looked_at_anew_when_anything_has_changed() -> None:
    ids: list[str] = []
    some = AdmissionBook(Register(ANCHOR, ALICE), lambda: ids)
    some.enter(entry(1))
    assert some.removed() == {}
    assert some.removed() is some.removed()
    ids.append("member-2")
    assert some.removed() == {}
    some.hear_of(entry(2))  # others brought its token
    assert list(some.removed()) == ["peer-00002"]
    ids.clear()
    assert some.removed() == {}
    bob = admission(BOB, BOBS).me
    some.enter(bob)
    assert some.removed() == {}
    some.register.take(removal(bob.person, "bo"), NOW)
    assert list(some.removed()) == [BOB.peer_id]
