"""What an object survives, in words for people."""

from collections.abc import Sequence

from p2p.ids import PeerId, PersonId
from storage.placement.pool import Pool
from storage.placement.rendezvous import Plan

ORDINALS = {2: "second", 3: "third", 4: "fourth", 5: "fifth"}


def survives_words(k: int, live: Sequence[PeerId], me: PeerId) -> str:
    """For the segment that is worst off; `live` are the machines that hold a shard of it now."""
    machines = len(set(live))
    spare = machines - k
    if spare < 0:
        return f"unreadable now: {machines} of the {k} machines needed can be reached"
    if machines == 1 and me in live:
        return "nothing: stored on this machine only"
    if machines == 1:
        return "nothing: stored on one other machine only"
    if spare == 0:
        return "nothing: every machine that holds it is needed"
    return "any 1 machine" if spare == 1 else f"any {spare} machines"


def follows_words(plan: Plan, stored: int) -> str:
    """What a put leaves to repair, after what is survived without it."""
    missing = plan.n - stored
    if missing < 1:
        return ""
    if plan.k > 1:
        return "; the last shard follows" if missing == 1 else f"; {missing} more shards follow"
    if missing == 1:
        return f"; the {ORDINALS.get(plan.n, 'last')} copy follows"
    return f"; {missing} more copies follow"


def are_one_site(holders: Sequence[PeerId], pool: Pool) -> bool:
    """Whether all holders stand in one place, whose loss would be the object's."""
    known = [pool.candidate(peer) for peer in holders]
    places = {(c.lab, c.site) for c in known if c is not None}
    return len(places) <= 1


def are_anothers(holders: Sequence[PeerId], pool: Pool, owner: PersonId) -> bool:
    """Whether all holders are machines of one other person, who could keep it from its owner."""
    known = [pool.candidate(peer) for peer in holders]
    persons = {c.person for c in known if c is not None}
    return len(persons) == 1 and persons != {owner}
