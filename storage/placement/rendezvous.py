"""Who should hold what: capacity-weighted rendezvous hashing, spread over failure domains.

Everybody with the same view computes the same order without asking; a machine that comes or goes
moves only its own share. Views differ, so the order is a preference: who really holds a shard is
in holder records. Source: Thaler and Ravishankar 1998; weights by -w / ln(h), Schindelhauer 2005.
"""

import math
from collections import Counter
from collections.abc import Sequence
from enum import IntEnum

import msgspec
from blake3 import blake3

from p2p.ids import LabId, PeerId, PersonId

SMALL_COPIES_MAX = 5

PERSON_SHARE = 4
"""At most a fourth of the machines considered are one person's, where others lend too."""

_UNKNOWN = PersonId("")


class Candidate(msgspec.Struct, frozen=True):
    """A machine that may be given something to keep."""

    peer: PeerId
    lab: LabId
    site: str
    weight: int
    """Bytes it lends: twice as many are chosen twice as often."""
    free_bytes: int
    owner: PersonId = _UNKNOWN
    """The person in its certificate; empty counts as one of its own."""

    @property
    def person(self) -> str:
        """Whose machine it is, as far as placement cares."""
        return self.owner or self.peer


class Plan(msgspec.Struct, frozen=True):
    """How an object is coded in a pool of some size."""

    k: int
    n: int
    ack: int
    """Receipts per segment before a durable put returns."""
    repair_at: int
    """So few live shards, or fewer, and the segment is repaired."""


class Domain(IntEnum):
    """The widest thing whose loss a placement survives."""

    NOTHING = 0
    MACHINE = 1
    SITE = 2
    LAB = 3


def plan_for(peers: int, *, small: bool = False) -> Plan:
    """The code for a pool of so many usable machines, oneself included.

    n stays below the number of machines where it can, so that a lost shard has a new home.
    """
    if peers < 1:
        raise ValueError("no machine lends storage")
    if small:
        copies = min(SMALL_COPIES_MAX, peers)
        return Plan(1, copies, copies // 2 + 1, max(1, copies - 1))
    if peers >= 17:
        return Plan(8, 16, 13, 13)
    if peers >= 13:
        return Plan(8, 12, 11, 11)
    if peers >= 9:
        return Plan(4, 8, 7, 6)
    if peers >= 7:
        return Plan(3, 6, 5, 5)
    if peers >= 4:
        return Plan(1, 3, 3, 2)
    return Plan(1, peers, peers, max(1, peers - 1))


def shards_wanted(k: int, peers: int, *, small: bool) -> int:
    """How many shards of a code of `k` an object should have in a pool of so many machines.

    As many may be lost as of one put there now; of whole copies there are five at most.
    """
    plan = plan_for(peers, small=small)
    wanted = min(k + plan.n - plan.k, peers)
    return min(wanted, SMALL_COPIES_MAX) if k == 1 else wanted


def quorum_of(plan: Plan) -> int:
    """Receipts a put of level `quorum` waits for: a majority, and one shard to spare."""
    return min(plan.ack, max(plan.n // 2 + 1, min(plan.k + 1, plan.n)))


def rendezvous(
    key: bytes, candidates: Sequence[Candidate], weighted: bool = True
) -> list[Candidate]:
    """All candidates, the preferred ones first."""
    scored = [(_score(key, c, weighted), c.peer, c) for c in candidates]
    return [candidate for _, _, candidate in sorted(scored, key=lambda s: (-s[0], s[1]))]


def peers_in_order(key: bytes, peers: Sequence[PeerId]) -> list[PeerId]:
    """The same for bare ids, all of one weight: where records of `key` are kept and looked for."""
    return sorted(peers, key=lambda peer: (-_hash(key, peer), peer))


def shortlist(order: Sequence[Candidate], count: int) -> list[Candidate]:
    """The first `count` of an order, in which one person with many machines leaves others room."""
    persons: Counter[str] = Counter()
    first, rest = list[int](), list[int]()
    for at, candidate in enumerate(order):
        persons[candidate.person] += 1
        is_many = persons[candidate.person] > count // PERSON_SHARE
        (rest if is_many else first).append(at)
    return [order[at] for at in sorted([*first, *rest][:count])]


def spread(
    order: Sequence[Candidate],
    count: int,
    present: Sequence[Candidate] = (),
    *,
    per_person: int | None = None,
) -> list[Candidate]:
    """`count` more candidates (or all there are) in rendezvous order, as far apart as can be.

    `present` hold something of the same segment already: they are not chosen and their labs and
    sites count. More than `per_person` go to one person's machines only where there are no others.
    """
    labs = Counter(c.lab for c in present)
    sites = Counter((c.lab, c.site) for c in present)
    persons = Counter(c.person for c in present)
    taken = {c.peer for c in present}
    left = [c for c in order if c.peer not in taken]
    chosen: list[Candidate] = []

    def cost(at: int) -> tuple[bool, int, int, int]:
        c = left[at]
        has_enough = per_person is not None and persons[c.person] >= per_person
        return has_enough, labs[c.lab], sites[c.lab, c.site], at

    while left and len(chosen) < count:
        best = left.pop(min(range(len(left)), key=cost))
        labs[best.lab] += 1
        sites[best.lab, best.site] += 1
        persons[best.person] += 1
        chosen.append(best)
    return chosen


def survives(holders: Sequence[Candidate], k: int) -> Domain:
    """The widest domain any one of which may be lost with k of the shards left elsewhere.

    `holders` has one entry per live shard of a segment.
    """
    spare = len(holders) - k
    if spare < 1:
        return Domain.NOTHING
    if max(Counter(c.lab for c in holders).values()) <= spare:
        return Domain.LAB
    if max(Counter((c.lab, c.site) for c in holders).values()) <= spare:
        return Domain.SITE
    return Domain.MACHINE


def _hash(key: bytes, peer: PeerId) -> int:
    return int.from_bytes(blake3(key + peer.encode()).digest(8))


def _score(key: bytes, candidate: Candidate, weighted: bool) -> float:
    fraction = (_hash(key, candidate.peer) + 0.5) / 2.0**64
    weight = max(1, candidate.weight) if weighted else 1
    return -weight / math.log(min(fraction, 1 - 2.0**-53))
