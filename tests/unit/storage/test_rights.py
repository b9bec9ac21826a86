"""Who may put in somebody's name, and who may not."""

import pytest

from p2p.errors import RefusalError
from p2p.ids import LabId, NetworkId, PeerId, PersonId
from p2p.wire.envelope import seal
from storage.limits import RIGHTS_KEPT
from storage.rights import (
    RIGHT_DOMAIN,
    Right,
    RightLink,
    Rights,
    extended,
    right_for,
)
from testnet.sim.callers import KnownMachines, machine_of
from testnet.sim.signer import KeyedHashSigner

NET = NetworkId("net")
ANNA, LAB = PersonId("anna"), LabId("lab")
LAPTOP, WORKER, GUARDIAN, HOLDER = map(PeerId, ("laptop", "worker", "guardian", "holder"))
HOUR_MS = 3_600_000


ANNAS_TOKEN = KnownMachines(LAPTOP, {}).token()


def rights(now_ms: int = 0) -> Rights:
    proofs = KnownMachines(HOLDER, {LAPTOP: machine_of(LAPTOP, LAB, ANNA)})
    return Rights(KeyedHashSigner(HOLDER), NET, proofs, lambda: now_ms)


def link(putter: PeerId = WORKER, owner: PersonId = ANNA, task: str = "t") -> RightLink:
    return RightLink(owner, LAB, putter, task)


def right(one: RightLink | None = None, signer: PeerId = LAPTOP) -> Right:
    return right_for(KeyedHashSigner(signer), NET, ANNAS_TOKEN, one or link(), HOUR_MS)


def test_whom_a_machine_of_the_owner_named_may_put_in_the_owners_name() -> None:
    found = rights().open(right())
    assert (found.owner, found.lab, found.putter, found.task) == (ANNA, LAB, WORKER, "t")
    rights().check(WORKER, right(), ANNA, LAB)


def test_a_right_is_handed_on_by_whom_it_names() -> None:
    onward = extended(right(link(GUARDIAN)), KeyedHashSigner(GUARDIAN), NET, WORKER)
    rights().check(WORKER, onward, ANNA, LAB)
    with pytest.raises(RefusalError, match="another machine"):
        rights().check(GUARDIAN, onward, ANNA, LAB)


@pytest.mark.parametrize(
    ("putter", "owner", "lab"),
    [
        (GUARDIAN, ANNA, LAB),
        (WORKER, PersonId("ben"), LAB),
        (WORKER, ANNA, LabId("other")),
    ],
)
def test_a_right_is_good_for_one_machine_and_one_owner(
    putter: PeerId, owner: PersonId, lab: LabId
) -> None:
    with pytest.raises(RefusalError, match="another machine's or another owner's"):
        rights().check(putter, right(), owner, lab)


def test_who_is_no_machine_of_the_owner_gives_no_right() -> None:
    with pytest.raises(RefusalError, match="not signed by a machine of that owner"):
        rights().open(right(signer=WORKER))
    with pytest.raises(RefusalError, match="not signed by a machine of that owner"):
        rights().open(right(link(owner=PersonId("ben"))))


def test_a_right_that_was_handed_on_by_somebody_else_is_none() -> None:
    onward = extended(right(link(GUARDIAN)), KeyedHashSigner(WORKER), NET, WORKER)
    with pytest.raises(RefusalError, match="do not hold together"):
        rights().open(onward)


def test_a_right_is_for_the_same_owner_and_task_in_every_link() -> None:
    first = right(link(GUARDIAN))
    for other in (link(owner=PersonId("ben")), link(task="another")):
        sealed = seal(
            KeyedHashSigner(GUARDIAN), NET, RIGHT_DOMAIN, other, sequence=0, expires_ms=HOUR_MS
        )
        with pytest.raises(RefusalError, match="do not hold together"):
            rights().open(Right((*first.links, sealed), first.token))


def test_a_right_with_a_wrong_signature_or_too_many_links_is_refused() -> None:
    good = right()
    forged = Right((seal(KeyedHashSigner(LAPTOP, 9), NET, RIGHT_DOMAIN, link(), sequence=0,
                         expires_ms=HOUR_MS),), good.token)  # fmt: skip
    for bad in (Right(()), Right(good.links * 4, good.token), forged):
        with pytest.raises(RefusalError):
            rights().open(bad)


def test_a_right_ends_also_for_who_has_seen_it_before() -> None:
    now_ms = 0
    proofs = KnownMachines(HOLDER, {LAPTOP: machine_of(LAPTOP, LAB, ANNA)})
    book = Rights(KeyedHashSigner(HOLDER), NET, proofs, lambda: now_ms)
    book.open(right())
    now_ms = 2 * HOUR_MS
    with pytest.raises(RefusalError, match="has ended"):
        book.open(right())


def test_a_right_of_a_machine_that_was_removed_ends_also_for_who_has_seen_it_before() -> None:
    known = {LAPTOP: machine_of(LAPTOP, LAB, ANNA)}
    checks = Rights(KeyedHashSigner(HOLDER), NET, KnownMachines(HOLDER, known), lambda: 0)
    checks.check(WORKER, right(), ANNA, LAB)
    del known[LAPTOP]
    with pytest.raises(RefusalError, match="not signed by a machine"):
        checks.check(WORKER, right(), ANNA, LAB)
    assert checks.giver(right(), "t") == (ANNA, LAB)  # whose the task is does not change


def test_rights_seen_lately_are_a_bounded_number() -> None:
    book = rights()
    for number in range(RIGHTS_KEPT + 5):
        book.open(right(link(task=f"t{number}")))
    assert len(book._known) == RIGHTS_KEPT


def test_where_nobody_has_certificates_no_right_is_believed() -> None:
    with pytest.raises(RefusalError):
        Rights(KeyedHashSigner(HOLDER), NET, None, lambda: 0).open(right())
